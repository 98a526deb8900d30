"""Which operators and weight types an ONNX file holds, without the onnx package (it is not part of the base install).

Reads the protobuf wire format (https://protobuf.dev/programming-guides/encoding) of the few fields of onnx.proto3 that
matter and skips everything else, weights included.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from humar_edge.errors import BackendError

MODEL_GRAPH, MODEL_FUNCTION = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
FUNCTION_NAME, FUNCTION_NODE = 1, 7
NODE_OP, NODE_ATTRIBUTE, ATTRIBUTE_GRAPH = 4, 5, 6
TENSOR_TYPE = 2
FLOAT16, BFLOAT16 = 10, 16
"""Field numbers and data types of onnx.proto3."""

QUANTISED = {"QuantizeLinear", "DequantizeLinear"}

Buffer = memoryview


@dataclass(frozen=True)
class OnnxFacts:
    """What the runtime wants to know of a graph.

    Attributes:
        operators: Operator types, those inside functions and subgraphs included.
        weight_types: ONNX data types of the initialisers (1 float32, 10 float16, 3 int8, ...).
        functions: Names of the model-local functions: operators that bring their own definition.
    """

    operators: frozenset[str]
    weight_types: frozenset[int]
    functions: frozenset[str]

    @property
    def precision(self) -> str:
        """ "int8" with Q/DQ nodes, "fp16" with half-precision weights, else "fp32"."""
        if self.operators & QUANTISED:
            return "int8"
        return "fp16" if self.weight_types & {FLOAT16, BFLOAT16} else "fp32"


def scan_onnx(path: Path) -> OnnxFacts:
    """Read the facts of an ONNX file.

    Raises:
        BackendError: The file is missing, empty or not ONNX.
    """
    operators: set[str] = set()
    weight_types: set[int] = set()
    functions: set[str] = set()
    try:
        with open(path, "rb") as file:
            # Unmapped with its last view: closing it here would fail while an error still holds views.
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        _scan_model(mapped, operators, weight_types, functions)
    except (OSError, ValueError, IndexError) as error:
        raise BackendError(f"cannot read {path} as ONNX: {error}") from error
    if not operators:
        raise BackendError(f"cannot read {path} as ONNX: it holds no operators")
    return OnnxFacts(frozenset(operators), frozenset(weight_types), frozenset(functions))


def _scan_model(model: Buffer, operators: set[str], weight_types: set[int], functions: set[str]) -> None:
    for number, value in _fields(model):
        if number == MODEL_GRAPH and not isinstance(value, int):
            _scan_graph(value, operators, weight_types)
        elif number == MODEL_FUNCTION and not isinstance(value, int):
            for inner, part in _fields(value):
                if inner == FUNCTION_NODE and not isinstance(part, int):
                    _scan_node(part, operators, weight_types)
                elif inner == FUNCTION_NAME and not isinstance(part, int):
                    functions.add(bytes(part).decode())


def _scan_graph(graph: Buffer, operators: set[str], weight_types: set[int]) -> None:
    for number, value in _fields(graph):
        if isinstance(value, int):
            continue
        if number == GRAPH_NODE:
            _scan_node(value, operators, weight_types)
        elif number == GRAPH_INITIALIZER:
            kinds = (kind for field, kind in _fields(value) if field == TENSOR_TYPE)
            weight_types.update(kind for kind in kinds if isinstance(kind, int))


def _scan_node(node: Buffer, operators: set[str], weight_types: set[int]) -> None:
    for number, value in _fields(node):
        if isinstance(value, int):
            continue
        if number == NODE_OP:
            operators.add(bytes(value).decode())
        elif number == NODE_ATTRIBUTE:
            for field, graph in _fields(value):
                if field == ATTRIBUTE_GRAPH and not isinstance(graph, int):
                    _scan_graph(graph, operators, weight_types)


def _fields(message: Buffer) -> Iterator[tuple[int, int | Buffer]]:
    """Field number and value of every field: an integer, or the bytes of a length-delimited field."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown protobuf wire type {kind}")
        if at + size > len(message):
            raise ValueError("the file ends too early")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")
