"""Maps of places: what a graph adds to each cell because of where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from humar_edge.export.graph import initialisers, replace_nodes

if TYPE_CHECKING:
    import onnx

SAME = 1e-5
"""Rounding of the sum of a row and a column, as a share of the largest value."""


def separate(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Maps [1,C,H,W] as the sum of [1,C,1,W] and [1,C,H,1], or None if they are none.

    A 1x1 convolution of coordinates, and of sines of one coordinate each, always is one.
    """
    across = maps[:, :, :1]
    down = maps[:, :, :, :1] - across[..., :1]
    rounding = SAME * max(1.0, float(np.abs(maps).max()))
    return (across, down) if np.abs(across + down - maps).max() <= rounding else None


def separate_maps(model: onnx.ModelProto) -> None:
    """Store constant maps that are added as a row and a column, to be added one after the other.

    Simplification computes all that depends on nothing but coordinates; its maps would be a tenth of an INT8 graph.
    """
    from onnx import helper, numpy_helper

    constants, nodes = initialisers(model), []
    for node in model.graph.node:
        place = next((index for index, name in enumerate(node.input) if name in constants), None)
        parts = None if place is None or node.op_type != "Add" else _parts(constants[node.input[place]])
        if place is not None and parts is not None:
            name = node.input[place]
            for part, suffix in zip(parts, ("across", "down"), strict=True):
                model.graph.initializer.append(numpy_helper.from_array(part.copy(), f"{name}_{suffix}"))
            half = f"{node.output[0]}_across"
            inputs = [node.input[1 - place], f"{name}_across"]
            nodes.append(helper.make_node("Add", inputs, [half], f"{node.name}/across"))
            node = helper.make_node("Add", [half, f"{name}_down"], list(node.output), node.name)
        nodes.append(node)
    replace_nodes(model, nodes)


def _parts(constant: onnx.TensorProto) -> tuple[np.ndarray, np.ndarray] | None:
    """Row and column of a constant that is a map."""
    from onnx import TensorProto, numpy_helper

    shape = list(constant.dims)
    is_map = constant.data_type == TensorProto.FLOAT and len(shape) == 4 and shape[0] == 1 < min(shape[2:])
    return separate(numpy_helper.to_array(constant)) if is_map else None
