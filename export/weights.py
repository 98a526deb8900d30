"""Weights as INT8, arithmetic as before: a third to a quarter of the size, for engines that run rarely (text)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from humar_edge.export.graph import attribute, copy_of, initialisers, quantise, replace_nodes

if TYPE_CHECKING:
    import onnx

SMALLEST = 4096
"""Tensors with fewer values stay as they are: nothing to gain."""
FEWEST = 8
"""Matrices with fewer output channels are tables of coordinates, which must stay exact."""


def _axis(node: onnx.NodeProto, index: int, rank: int) -> int | None:
    """Axis of the output channels of a node's constant input, or of the rows of a table; None: not a weight."""
    if node.op_type == "MatMul" and index == 1:
        return rank - 1
    if node.op_type == "Gemm" and index == 1:
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "Gather" and index == 0 and attribute(node, "axis", 0) == 0:
        return 0
    return None  # convolutions are few where they are not INT8, and OpenVINO 2026.4 computes some of them wrongly so


def compress_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights of MatMul, Gemm and embedding tables as INT8 with one scale per channel or row.

    Each is followed by a DequantizeLinear, so that every runtime reads the file; the arithmetic stays in float.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = copy_of(model)
    constants = initialisers(model)
    done: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            constant = constants.get(name)
            if constant is None or constant.data_type != TensorProto.FLOAT or len(constant.dims) < 2:
                continue
            axis = _axis(node, index, len(constant.dims))
            if axis is None or np.prod(constant.dims) < SMALLEST or constant.dims[axis] < FEWEST:
                continue
            if (name, axis) not in done:
                small, scale = quantise(numpy_helper.to_array(constant), axis)
                parts = [f"{name}_int8_{axis}", f"{name}_scale_{axis}"]
                model.graph.initializer.append(numpy_helper.from_array(small, parts[0]))
                model.graph.initializer.append(numpy_helper.from_array(scale, parts[1]))
                result = f"{name}_float_{axis}"
                nodes.append(helper.make_node("DequantizeLinear", parts, [result], f"{result}/Dequantize", axis=axis))
                done[name, axis] = result
            node.input[index] = done[name, axis]
        nodes.append(node)
    replace_nodes(model, nodes)
    return model


def halve_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights of convolutions in half, followed by a Cast; the arithmetic stays in float."""
    from onnx import TensorProto, helper, numpy_helper

    model = copy_of(model)
    constants = initialisers(model)
    done: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        for index, name in enumerate(node.input if node.op_type == "Conv" else ()):
            constant = constants.get(name)
            if constant is None or constant.data_type != TensorProto.FLOAT or np.prod(constant.dims) < SMALLEST:
                continue
            if name not in done:
                values = numpy_helper.to_array(constant).astype(np.float16)
                model.graph.initializer.append(numpy_helper.from_array(values, f"{name}_fp16"))
                done[name] = f"{name}_from_fp16"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_fp16"], [done[name]], f"{name}/Cast", to=TensorProto.FLOAT)
                )
            node.input[index] = done[name]
        nodes.append(node)
    replace_nodes(model, nodes)
    return model
