"""What an ONNX engine will need in memory, worked out from its graph: for machines without the GPU in question.

OpenVINO reads the graph because it is part of the base install and knows every operator's shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from humar_edge.errors import BackendError, ConfigError

GIB = 1 << 30
MIB = 1 << 20

CUDA_CONTEXT = 500 * MIB
"""Allowance for CUDA's context and TensorRT's own code on the GPU; an assumption, nobody has measured it here."""

UNITS = {"": GIB, "G": GIB, "M": MIB}

VIEWS = {"Reshape", "Squeeze", "Unsqueeze"}
"""Operators whose output is their input's memory."""

IN_PLACE = {
    "Abs", "Add", "Ceiling", "Clamp", "Convert", "Divide", "Elu", "Equal", "Erf", "Exp", "FakeQuantize", "Floor",
    "Gelu", "Greater", "GreaterEqual", "HSigmoid", "HSwish", "HardSigmoid", "IsFinite", "Less", "LessEqual", "Log",
    "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Multiply", "Negative", "NotEqual", "Power",
    "PRelu", "Relu", "Round", "Select", "Sigmoid", "Sign", "Softmax", "SoftPlus", "Sqrt", "Subtract", "Swish", "Tanh",
}  # fmt: skip
"""Element by element: the output may take over the memory of an input that nobody needs afterwards."""

Port = tuple[str, int]
"""Name of an operator and number of its output."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated bytes of one engine.

    Attributes:
        weights: Constants as they are stored.
        activations: Most bytes that intermediate results take at once, operator by operator. Engines that fuse
            operators need less; the scratch memory of single kernels comes on top.
        io: Inputs and outputs.
    """

    weights: int
    activations: int
    io: int

    @property
    def total(self) -> int:
        """All three together."""
        return self.weights + self.activations + self.io

    def to_dict(self) -> dict[str, int]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class Verdict:
    """Whether something fits into a GPU's memory.

    Attributes:
        limit: Bytes of the GPU.
        engines: Bytes of the engines.
        context: Bytes of CUDA itself, an allowance.
        estimate: True when `engines` was worked out rather than measured.
    """

    limit: int
    engines: int
    context: int = CUDA_CONTEXT
    estimate: bool = True

    @property
    def needed(self) -> int:
        """Bytes of engines and CUDA."""
        return self.engines + self.context

    @property
    def fits(self) -> bool:
        """Whether the need is within the limit."""
        return self.needed <= self.limit

    def __str__(self) -> str:
        """For example `fits into 4.0 GiB (estimate): 96 MiB engines + 500 MiB CUDA (assumed) = 596 MiB`."""
        verdict = "fits into" if self.fits else "does not fit into"
        kind = "estimate" if self.estimate else "measured"
        parts = f"{self.engines / MIB:.0f} MiB engines + {self.context / MIB:.0f} MiB CUDA (assumed)"
        limit = f"{self.limit / GIB:.1f} GiB" if self.limit >= GIB else f"{self.limit / MIB:.0f} MiB"
        return f"{verdict} {limit} ({kind}): {parts} = {self.needed / MIB:.0f} MiB"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "needed": self.needed, "fits": self.fits}


def parse_vram(text: str) -> int:
    """`4G`, `6`, `512M` as bytes (binary units, as GPUs are sold).

    Raises:
        ConfigError: Neither a number of gigabytes nor of megabytes.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([GM]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * UNITS[match[2].upper()] if match else 0
    if size <= 0:
        raise ConfigError(f"--vram {text}: give the GPU's memory, for example 4G or 512M")
    return int(size)


def estimate_memory(onnx_path: Path) -> MemoryEstimate:
    """Estimate one engine.

    Raises:
        BackendError: The file is not ONNX, holds an operator that OpenVINO does not know, or has dynamic shapes.
    """
    try:
        import openvino
    except ImportError as error:
        raise BackendError("the memory estimate needs OpenVINO; run: pip install openvino") from error
    try:
        model = openvino.Core().read_model(str(onnx_path))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BackendError(f"cannot estimate the memory of {onnx_path}: {lines[-1] if lines else error}") from error
    return _Graph(model.get_ordered_ops(), onnx_path).estimate()


def estimate_bundle(engines: Mapping[str, Path]) -> dict[str, MemoryEstimate]:
    """Estimate several engines; each keeps its activations while the others run, so their needs add up."""
    return {name: estimate_memory(path) for name, path in engines.items()}


class _Graph:
    """Liveness of the tensors of a graph in the order of execution."""

    def __init__(self, operators: Iterable[Any], path: Path) -> None:
        self.path = path
        self.operators = list(operators)
        self.constant: set[str] = set()
        self.bytes: dict[Port, int] = {}
        self.weights = 0
        self.io = 0
        self.sources: dict[str, list[Port]] = {}
        for operator in self.operators:
            self._read(operator)

    def _read(self, operator: Any) -> None:
        name, kind = operator.get_name(), operator.get_type_name()
        outputs = [port.get_source_output() for port in operator.inputs()]
        self.sources[name] = [(output.get_node().get_name(), output.get_index()) for output in outputs]
        for output in operator.outputs():
            self.bytes[name, output.get_index()] = self._size(output)
        if kind == "Constant":
            self.weights += self.bytes[name, 0]
            self.constant.add(name)
        elif kind == "ShapeOf" or (
            self.sources[name] and all(source in self.constant for source, _ in self.sources[name])
        ):
            # Folded into one constant when an engine is built (shapes are static), or kept packed (INT8 and FP16).
            self.constant.add(name)
        if kind in ("Parameter", "Result"):
            self.io += self.bytes[name, 0]

    def _size(self, output: Any) -> int:
        shape = output.get_partial_shape()
        if shape.is_dynamic:
            raise BackendError(
                f"cannot estimate the memory of {self.path}: the shape {shape} of {output.get_node().get_name()} is "
                "dynamic; export with a fixed input size"
            )
        return -(-prod(size.get_length() for size in shape) * output.get_element_type().bitwidth // 8)

    def estimate(self) -> MemoryEstimate:
        """Walk through the graph: allocate outputs, note the peak, free what was used for the last time."""
        owner = self._owners()
        last: dict[Port, int] = {}
        for step, operator in enumerate(self.operators):
            for port in self.sources[operator.get_name()]:
                if port in owner:
                    last[owner[port]] = step
        alive: dict[Port, int] = {}
        peak = 0
        for step, operator in enumerate(self.operators):
            name = operator.get_name()
            ending = [owner[port] for port in self.sources[name] if port in owner and last[owner[port]] == step]
            for port in ((name, output.get_index()) for output in operator.outputs()):
                if owner.get(port) == port:
                    alive[port] = self._place(operator.get_type_name(), port, ending, alive)
            peak = max(peak, sum(alive.values()))
            for port in ending:
                alive.pop(port, None)
            for output in operator.outputs():  # never used
                if (name, output.get_index()) not in last:
                    alive.pop((name, output.get_index()), None)
        return MemoryEstimate(self.weights, peak, self.io)

    def _place(self, kind: str, port: Port, ending: list[Port], alive: dict[Port, int]) -> int:
        """Bytes of a new tensor; takes over the memory of an input that ends here where that is possible."""
        size = self.bytes[port]
        if kind in IN_PLACE:
            for old in ending:
                if alive.get(old, 0) >= size:
                    return alive.pop(old)
        return size

    def _owners(self) -> dict[Port, Port]:
        """Tensor -> the tensor whose memory it is in; constants, inputs and outputs of the engine are left out."""
        owner: dict[Port, Port] = {}
        results: set[Port] = set()
        for operator in self.operators:
            name, kind = operator.get_name(), operator.get_type_name()
            if kind == "Result":
                results |= {owner[port] for port in self.sources[name] if port in owner}
            if name in self.constant or kind in ("Parameter", "Result"):
                continue
            for output in operator.outputs():
                port = (name, output.get_index())
                if kind in VIEWS:
                    first = self.sources[name][0]
                    if first in owner:
                        owner[port] = owner[first]
                else:
                    owner[port] = port
        return {port: root for port, root in owner.items() if root not in results}
