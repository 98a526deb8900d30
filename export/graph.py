"""Small tools for rewriting ONNX graphs, shared by the precision passes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from humar_edge.export.engines import PREFIX

if TYPE_CHECKING:
    import onnx

LEVELS = 127
"""Symmetric INT8: -127 to 127, zero is zero."""
MULTIPLIED_LEVELS = 64
"""Largest INT8 weight that meets INT8 activations. CPUs without VNNI (Intel's up to about 2018 and many laptops until
2020, AMD's before Zen 4) add two products of an unsigned and a signed byte in 16 bits and saturate silently: 2 * 255 *
127 is above 32767, 2 * 255 * 64 is not. OpenVINO and onnxruntime leave that to whoever makes the model."""


def path_of(node: onnx.NodeProto) -> str:
    """Where in the network a node comes from: `transformer/fusion/mix5/query/Conv`.

    The positional graph enters the network by a method, and its names lack the prefix.
    """
    return node.name.removeprefix(PREFIX).removeprefix("/")


def initialisers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Constant tensors by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Value of an attribute."""
    from onnx import helper

    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def inferred(model: onnx.ModelProto) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Element type and static shape of every tensor whose shape inference finds them."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(dimension.dim_value for dimension in tensor.shape.dim)
    for constant in graph.initializer:
        types[constant.name], shapes[constant.name] = constant.data_type, tuple(constant.dims)
    return types, shapes


def quantise(weight: np.ndarray, axis: int, levels: int = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric INT8 per channel, -levels to levels: int8 like `weight` and float32 scales along `axis`."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others)
    # A channel of zeros keeps a harmless scale.
    scale = np.where(largest > 0, largest / levels, 1.0).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.clip(np.rint(weight / scale.reshape(shape)), -levels, levels).astype(np.int8), scale


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove constants that no node reads any more."""
    used = {name for node in model.graph.node for name in node.input}
    used |= {output.name for output in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give the graph another list of nodes; types of intermediate tensors are forgotten, constants not read go."""
    fresh = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(fresh)
    del model.graph.value_info[:]
    drop_unused(model)


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to rewrite."""
    import onnx

    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin
