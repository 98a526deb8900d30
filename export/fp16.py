"""FP16 as a property of the graph: weights and activations in half, FP32 where it matters, same inputs and outputs.

TensorRT 11 takes precision from the ONNX file alone, and TensorRT 10 accepts it as strongly typed, so one file serves
both. The table `ISLANDS` is the only place that says what stays FP32.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from humar_edge.export.deform_attn import OP_TYPE as PLUGIN
from humar_edge.export.graph import attribute, copy_of, inferred, initialisers, path_of, replace_nodes

if TYPE_CHECKING:
    import onnx

FLOAT, HALF = 1, 10  # TensorProto's element types
LARGEST, SMALLEST = 65504.0, 6.0e-8


@dataclass(frozen=True)
class Island:
    """Nodes that stay FP32.

    Attributes:
        pattern: Regular expression for the whole path of a node, or for its operator.
        reason: Why.
        operator: Whether the pattern is matched with the operator instead of the path.
    """

    pattern: str
    reason: str
    operator: bool = False

    def holds(self, node: onnx.NodeProto) -> bool:
        """Whether a node belongs to it."""
        return re.fullmatch(self.pattern, node.op_type if self.operator else path_of(node)) is not None


ISLANDS: tuple[Island, ...] = (
    Island(r"[^/]+", "pixels: 8-bit values and their normalisation, before they are of order one; ranks of the peaks"),
    Island(r"transformer/[^/]+", "coordinates, presence, choice of the person, and the matrices that paste the mask"),
    Island(r"(transformer/)?proposals/[^/]+", "coordinates, choice of the cells"),
    Island(r"proposals/(score|sides)/.*", "last layers: cells that are equal in half would all be peaks"),
    Island(r"people/[^/]+", "crop matrices, comparisons of places and sizes"),
    Island(r"people/(real|shape|relate)/.*", "layers that read places and sizes, or count people"),
    Island(r"transformer/selection/((match|layers\.\d+)/)?[^/]+", "softmax over words and people, sum over words"),
    Island(r"transformer/selection/(score|none)/.*", "last layers: people who are equal in half"),
    Island(r"transformer/instance/[^/]+", "window coordinates, crop matrices, softmax of the heatmaps"),
    Island(r"transformer/instance/(move|resize|seen)/.*", "coordinates: last layers"),
    Island(r"(transformer/)?(points|prompts)/[^/]+", "coordinates of points and the matrices that read there"),
    Island(r"transformer/(decoder|heads|masks)/[^/]+", "reference points, inverse sigmoids, mask coordinates"),
    Island(r".*(cross_attn|self_attn|attention)/sampling_offsets/.*", "sampling locations: 0.4 pixels at 640 in half"),
    Island(r"transformer/(encoder|decoder)/.*(cross_attn|self_attn)/[^/]+", "sampling locations and their shares"),
    Island(r"text_encoder/[^/]+", "mean over words: its divisor is clamped at 1e-9"),
    Island(r".*linear_attention/[^/]+", "normaliser of linear attention: a sum over all cells, up to 231,000"),
    Island(r"Sigmoid|Softplus|Exp|Log|ReduceLogSumExp", "probabilities and logarithms", operator=True),
    Island(r"ArgMax|TopK", "ties in half choose another cell", operator=True),
    Island(r"ReduceSum|ReduceSumSquare|ReduceL2|CumSum|Pow", "normalisers: sums overflow", operator=True),
    Island(r"Range|QuantizeLinear|DequantizeLinear", "defined on FP32 at these opsets", operator=True),
)

FIXED: dict[str, tuple[int, ...]] = {"Resize": (1, 2), PLUGIN: (3,)}
"""Inputs that are FP32 by definition, whatever the node computes in: operator -> positions."""

FREE = {"Shape", "Size"}
"""Operators that take any type."""


def in_fp32(node: onnx.NodeProto) -> bool:
    """Whether the table keeps a node in FP32."""
    return any(island.holds(node) for island in ISLANDS)


def to_fp16(model: onnx.ModelProto, keep: Callable[[onnx.NodeProto], bool] = in_fp32) -> onnx.ModelProto:
    """Rewrite an FP32 model; inputs and outputs keep their types.

    Nodes that read a constant which FP16 cannot hold (above 65,504, or so small that it would become zero), nodes
    between Q and DQ, and nodes with a tensor whose type is unknown stay FP32 as well.

    Args:
        model: FP32, possibly with Q/DQ nodes.
        keep: Tells which nodes stay FP32.
    """
    return _Rewriter(copy_of(model), keep).run()


class _Rewriter:
    def __init__(self, model: onnx.ModelProto, keep: Callable[[onnx.NodeProto], bool]) -> None:
        from onnx import numpy_helper

        self.model, self.keep = model, keep
        self.types, _ = inferred(model)
        self.constants = {
            name: numpy_helper.to_array(tensor)
            for name, tensor in initialisers(model).items()
            if tensor.data_type == FLOAT
        }
        self.half: dict[str, bool] = {value.name: False for value in model.graph.input}
        self.dequantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[tuple[str, bool], str] = {}

    def run(self) -> onnx.ModelProto:
        outputs = {output.name for output in self.model.graph.output}
        for node in self.model.graph.node:
            half = not self.stays(node)
            fixed = FIXED.get(node.op_type, ())
            if node.op_type not in FREE and not (node.op_type == "Cast" and self.is_float(node.input[0])):
                for index, name in enumerate(node.input):
                    if self.is_float(name):
                        node.input[index] = self.as_type(name, half and index not in fixed)
            self.retype(node, half)
            self.nodes.append(node)
            for index, name in enumerate(node.output):
                if not self.is_float(name):
                    continue
                self.half[name] = half
                if half and name in outputs:
                    node.output[index] = inner = f"{name}_fp16"
                    self.nodes.append(_cast(inner, name, FLOAT))
                    self.half[name] = False
        replace_nodes(self.model, self.nodes)
        return self.model

    def stays(self, node: onnx.NodeProto) -> bool:
        if self.keep(node) or any(name in self.dequantised for name in node.input):
            return True
        # An operator without shape inference hides the types of all that follows. Left alone, that stays consistent.
        if any(name and name not in self.types for name in (*node.input, *node.output)):
            return True
        fixed = FIXED.get(node.op_type, ())
        return any(
            not _representable(self.constants[name])
            for index, name in enumerate(node.input)
            if name in self.constants and index not in fixed
        )

    def is_float(self, name: str) -> bool:
        return self.types.get(name) == FLOAT

    def as_type(self, name: str, half: bool) -> str:
        """The name of a tensor's copy of the wanted type, made where it does not exist yet."""
        from onnx import numpy_helper

        if name in self.constants:
            if not half:
                return name
            copy = f"{name}_fp16"
            if (name, half) not in self.made:
                values = self.constants[name].astype(np.float16)
                self.model.graph.initializer.append(numpy_helper.from_array(values, copy))
                self.made[name, half] = copy
            return copy
        if self.half[name] == half:
            return name
        if (name, half) not in self.made:
            copy = f"{name}_{'to_fp16' if half else 'to_fp32'}"
            self.nodes.append(_cast(name, copy, HALF if half else FLOAT))
            self.made[name, half] = copy
        return self.made[name, half]

    def retype(self, node: onnx.NodeProto, half: bool) -> None:
        """Attributes that name the element type of the output."""
        from onnx import helper, numpy_helper

        if not half:
            return
        if node.op_type == "Cast" and attribute(node, "to") == FLOAT:
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("to", HALF))
        if node.op_type == "ConstantOfShape":
            value = attribute(node, "value")
            zero = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
            if zero.dtype == np.float32:
                del node.attribute[:]
                tensor = numpy_helper.from_array(zero.astype(np.float16))
                node.attribute.append(helper.make_attribute("value", tensor))


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [target], f"{target}/Cast", to=to)


def _representable(values: np.ndarray) -> bool:
    """Whether a constant survives FP16. Single tiny weights may vanish, a lone epsilon may not."""
    size = np.abs(values)
    if not values.size:
        return True
    return bool(size.max() <= LARGEST) and not (values.size <= 8 and bool(((size > 0) & (size < SMALLEST)).any()))
