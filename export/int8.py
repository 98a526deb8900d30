"""INT8 as explicit Q/DQ pairs around convolutions, linear layers and residual additions.

The form is the one that TensorRT accepts: symmetric weights per channel, symmetric activations per tensor, no
quantised bias, a Q/DQ pair of its own for every input. OpenVINO and onnxruntime read it too, and weights stay in a
range that older CPUs multiply without saturation (`MULTIPLIED_LEVELS`), so that one file is right everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from humar_edge.errors import ConfigError, ExportError
from humar_edge.export.fp16 import in_fp32, to_fp16
from humar_edge.export.graph import (
    LEVELS,
    MULTIPLIED_LEVELS,
    attribute,
    copy_of,
    inferred,
    initialisers,
    path_of,
    quantise,
    replace_nodes,
)
from humar_edge.export.plan import Plan, lies_in

if TYPE_CHECKING:
    import onnx

FLOAT: tuple[tuple[str, str], ...] = (
    (r"[^/]+|transformer/[^/]+|transformer/instance/[^/]+", "pixels, coordinates, crop and paste matrices"),
    (r"transformer/instance/(heatmap|mask|read|move|resize|seen|describe|modulate|graph.*)/.*", "heads' last layers"),
    (r"(transformer/)?(selection|heads|masks|points|prompts|text)/.*", "scores, boxes, coordinates, prompts"),
    (r"transformer/proposals/.*|proposals/(?!stem/).*|people/(?!read/).*", "scores, boxes, tokens of people"),
    (r".*/(film|key_value)/.*", "conditioning: a few values that scale whole maps"),
    (r".*(sampling_offsets|attention_weights)/.*", "sampling locations and their shares"),
    (r".*(norm|gate).*/.*MatMul.*", "statistics"),
    (r"neck/down_path\.[^/]+/skip/.*", "the short way to the map that people are read from: most of INT8's error"),
)
"""Paths that stay in floating point whatever the plan says: pattern, reason."""

WEIGHTED = {"Conv": 0, "MatMul": 1, "Gemm": 1}
"""Operators with a constant weight, and the axis of its output channels (Gemm: unless transposed)."""


def quantizable(model: onnx.ModelProto, plan: Plan) -> dict[str, list[int]]:
    """Nodes to quantise, and the positions of their activations.

    Convolutions and linear layers with constant weights in INT8 blocks, and residual additions there (two activations
    of one shape, one of them from a convolution); not those on single pixels (channel gates), which gain nothing.
    """
    constants = initialisers(model)
    _, shapes = inferred(model)
    made_by = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, list[int]] = {}
    for node in model.graph.node:
        path = path_of(node)
        if plan.precision(path) != "int8" or any(re.fullmatch(pattern, path) for pattern, _ in FLOAT):
            continue
        shape = shapes.get(node.input[0], ())
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in constants:
            if node.op_type == "Conv" and len(shape) == 4 and shape[2] * shape[3] == 1:
                continue
            if node.input[0] not in constants:
                found[node.name] = [0]
        elif node.op_type == "Add" and len(shape) == 4:
            sources = [made_by.get(name) for name in node.input]
            if shapes.get(node.input[1]) == shape and any(source and source.op_type == "Conv" for source in sources):
                found[node.name] = [index for index, source in enumerate(sources) if source is not None]
    return found


def require_blocks(model: onnx.ModelProto, plan: Plan) -> None:
    """Refuse a plan that names what a vision engine has not.

    Raises:
        ConfigError: A block is not there, or its INT8 blocks hold nothing that can be quantised.
    """
    paths = {path_of(node) for node in model.graph.node}
    absent = [block for block in plan.blocks if not any(lies_in(path, block) for path in paths)]
    if absent:
        known = sorted({path.split("/")[0] for path in paths if "/" in path})
        raise ConfigError(
            f"precision plan '{plan.name}': this network has no block {', '.join(absent)}; blocks begin with "
            f"{', '.join(known)}"
        )
    if plan.uses("int8") and not quantizable(model, plan):
        raise ConfigError(f"precision plan '{plan.name}': there is nothing to quantise in its INT8 blocks")


def activations(model: onnx.ModelProto, plan: Plan) -> list[str]:
    """Names of the tensors whose ranges the calibration must find."""
    nodes = {node.name: node for node in model.graph.node}
    chosen = quantizable(model, plan)
    return sorted({nodes[name].input[index] for name, indices in chosen.items() for index in indices})


def insert_qdq(
    model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, float], shifts: Mapping[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """Quantise a model.

    Args:
        model: FP32.
        plan: What to quantise; FP16 blocks are left FP32 here.
        ranges: Largest absolute value by tensor.
        shifts: What to add to the biases of convolutions, float32 [C] by node; see `humar_edge.export.bias`.

    Raises:
        ExportError: A tensor's range is missing, or nothing can be quantised.
    """
    from onnx import helper, numpy_helper

    chosen = quantizable(model, plan)
    if not chosen:
        raise ExportError("nothing to quantise: the plan's INT8 blocks hold no convolution or linear layer")
    model = copy_of(model)
    constants = initialisers(model)
    weights: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: np.ndarray) -> str:
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    zero = constant("int8_zero", np.zeros((), np.int8))
    for node in model.graph.node:
        for index in chosen.get(node.name, ()):
            tensor = node.input[index]
            if tensor not in ranges:
                raise ExportError(f"no calibrated range for '{tensor}' ({node.name})")
            stem = f"{node.name}/input_{index}"
            size = max(float(ranges[tensor]), 1e-6) / LEVELS
            scale = constant(f"{stem}_scale", np.asarray(size, np.float32))
            nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{stem}_q"], f"{stem}/Q"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{stem}_q", scale, zero], [f"{stem}_dq"], f"{stem}/DQ"))
            node.input[index] = f"{stem}_dq"
        if node.name in chosen and node.op_type in WEIGHTED:
            name = node.input[1]
            if name not in weights:
                axis = 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else WEIGHTED[node.op_type]
                small, scales = quantise(numpy_helper.to_array(constants[name]), axis, MULTIPLIED_LEVELS)
                inputs = [constant(f"{name}_int8", small), constant(f"{name}_scale", scales)]
                inputs.append(constant(f"{name}_zero", np.zeros(len(scales), np.int8)))
                weights[name] = f"{name}_dq"
                nodes.append(helper.make_node("DequantizeLinear", inputs, [weights[name]], f"{name}/DQ", axis=axis))
            node.input[1] = weights[name]
        if shifts and node.name in chosen and node.name in shifts:
            biased = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else 0
            values = np.asarray(biased + shifts[node.name], np.float32)
            node.input[2:] = [constant(f"{node.name}/bias", values)]
        nodes.append(node)
    replace_nodes(model, nodes)
    return model


def apply_plan(
    model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, float], shifts: Mapping[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """Rewrite an FP32 model by a plan: Q/DQ for INT8 blocks, half precision for FP16 blocks.

    Args:
        model: FP32.
        plan: Precision by block.
        ranges: Largest absolute value of each of `activations(model, plan)`; empty when no block is INT8.
        shifts: As in `insert_qdq`.
    """
    if plan.uses("int8") and quantizable(model, plan):  # of split engines one may have no INT8 block
        model = insert_qdq(model, plan, ranges, shifts)
    if plan.uses("fp16"):
        model = to_fp16(model, lambda node: in_fp32(node) or plan.precision(path_of(node)) == "fp32")
    return model


def counts(model: onnx.ModelProto, plan: Plan) -> dict[str, int]:
    """Operator -> number of nodes that a plan runs in INT8."""
    chosen = quantizable(model, plan)
    return dict(Counter(node.op_type for node in _named(model, chosen)))


def _named(model: onnx.ModelProto, names: Iterable[str]) -> Iterator[onnx.NodeProto]:
    wanted = set(names)
    return (node for node in model.graph.node if node.name in wanted)
