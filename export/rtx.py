"""Does NVIDIA's compiler take a bundle? TensorRT-RTX builds engines ahead of time on the CPU, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError, ConfigError, MissingExtraError

TARGETS: dict[str, str] = {"7.5": "SM75", "8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120"}
"""Compute capability -> name in TensorRT-RTX."""
DEFAULT_TARGETS = ("7.5", "8.6", "8.9", "12.0")
TIMEOUT = 900.0

DISCLAIMER = (
    "This shows that NVIDIA's parser and builder accept operators, types, shapes and Q/DQ structure. It shows neither "
    "speed nor numbers: nothing ran on a GPU, a TensorRT-RTX plan is no TensorRT engine, and Orin (8.7) is no target."
)

LIMITS: dict[str, str] = {"SM75": "FP32 GEMM is not supported"}
"""What TensorRT-RTX itself cannot do for a target, whatever the graph (TensorRT can): target -> part of its message."""

_TYPES = {1: "FP32", 10: "FP16", 3: "INT8"}


@dataclass(frozen=True)
class Check:
    """One engine compiled, or not.

    Attributes:
        engine: Its file.
        ok: Whether it compiled for all targets, those aside that TensorRT-RTX cannot serve (`LIMITS`).
        operators: Operator -> number of nodes.
        weights: Element type -> bytes of constants.
        quantised: Number of Q/DQ pairs.
        result: What the compiler said: version, layers, and `built` (target -> ok, seconds, plan_bytes or errors); or
            stage and errors where it came to no build.
    """

    engine: str
    ok: bool
    operators: dict[str, int]
    weights: dict[str, int]
    quantised: int
    result: dict[str, Any] = field(default_factory=dict)


def targets_of(text: str) -> list[str]:
    """`8.6,8.9` to names of TensorRT-RTX.

    Raises:
        ConfigError: A capability is no target.
    """
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in TARGETS]
    if unknown or not wanted:
        raise ConfigError(f"--targets {text}: choose of {', '.join(TARGETS)}")
    return [TARGETS[part] for part in wanted]


def check_bundle(path: Path, targets: list[str], python: str | None = None, timeout: float = TIMEOUT) -> list[Check]:
    """Compile every engine of a bundle, each in a process of its own.

    Args:
        path: The bundle.
        targets: Names of TensorRT-RTX.
        python: Interpreter that has TensorRT-RTX; default: this one, or HUMAR_EDGE_RTX_PYTHON.
        timeout: Seconds per engine.

    Raises:
        BundleError: The bundle is damaged.
        MissingExtraError: TensorRT-RTX is not installed.
    """
    bundle = Bundle.load(path)
    python = python or os.environ.get("HUMAR_EDGE_RTX_PYTHON")
    if python is None and find_spec("tensorrt_rtx") is None:
        raise MissingExtraError("tensorrt_rtx", "rtx")
    engines = [bundle.vision_engine, bundle.text_engine, bundle.positional_engine, *(bundle.split_engines or ())]
    return [_check(engine, targets, python or sys.executable, timeout) for engine in engines if engine is not None]


def _check(engine: Path, targets: list[str], python: str, timeout: float) -> Check:
    import onnx

    graph = onnx.load(str(engine)).graph
    operators = Counter(node.op_type for node in graph.node)
    weights: Counter[str] = Counter()
    for tensor in graph.initializer:
        weights[_TYPES.get(tensor.data_type, "other")] += tensor.ByteSize()
    result = compile_onnx(engine, targets, python, timeout)
    return Check(
        engine.name,
        _passed(result),
        dict(operators.most_common()),
        dict(weights.most_common()),
        operators["QuantizeLinear"],
        result,
    )


def limited(target: str, built: dict[str, Any]) -> bool:
    """Whether a build failed for a limit of TensorRT-RTX alone."""
    return not built["ok"] and target in LIMITS and any(LIMITS[target] in error for error in built["errors"])


def _passed(result: dict[str, Any]) -> bool:
    built = result.get("built", {})
    return bool(built) and all(found["ok"] or limited(target, found) for target, found in built.items())


def compile_onnx(engine: Path, targets: list[str], python: str, timeout: float) -> dict[str, Any]:
    """Compile one ONNX file; a crash or a timeout is a result too.

    Raises:
        BackendError: The interpreter cannot be started.
    """
    worker = Path(__file__).with_name("rtx_worker.py")
    command = [python, str(worker), str(engine), ",".join(targets)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"ok": False, "stage": "build", "errors": [f"no plan after {timeout:.0f} s"]}
    except OSError as error:
        raise BackendError(f"cannot start {python}: {error.strerror or error}") from error
    try:
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"ok": False, "stage": "crash", "errors": [f"the compiler ended with code {done.returncode}: {last}"]}
    return result
