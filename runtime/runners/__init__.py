"""Inference backends behind one protocol: `open_runner` chooses one from a table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from humar_edge.errors import BackendError
from humar_edge.runtime.runners.base import Runner, TensorSpec

__all__ = ["BACKENDS", "Runner", "TensorSpec", "available_backends", "choose_backend", "open_runner"]

BACKENDS: dict[str, str] = {
    "tensorrt": "humar_edge.runtime.runners.tensorrt:TensorRTRunner",
    "openvino": "humar_edge.runtime.runners.openvino:OpenVINORunner",
    "onnxruntime": "humar_edge.runtime.runners.onnxruntime:ONNXRuntimeRunner",
}
"""Backend -> "module:class", best first. Classes are made as `Class(onnx_path, *, threads=None)`."""


def _tensorrt_available() -> bool:
    # Not imported at the top: it looks for a GPU, which nobody asked for when another backend is named.
    return bool(import_module("humar_edge.runtime.tensorrt").available())


_AVAILABLE: dict[str, Callable[[], bool]] = {
    "tensorrt": _tensorrt_available,
    "openvino": lambda: find_spec("openvino") is not None,
    "onnxruntime": lambda: find_spec("onnxruntime") is not None,
}


def available_backends() -> list[str]:
    """Backends that can run on this machine, best first."""
    return [name for name in BACKENDS if _AVAILABLE[name]()]


def choose_backend(backend: str | None = None) -> str:
    """The named backend, or the best available one.

    Raises:
        BackendError: An unknown name, or nothing is available.
    """
    if backend is not None:
        if backend not in BACKENDS:
            raise BackendError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
        return backend
    found = available_backends()
    if not found:
        raise BackendError("no inference backend is installed; run: pip install openvino")
    return found[0]


def open_runner(onnx_path: str | Path, backend: str | None = None, threads: int | None = None) -> Runner:
    """Open an ONNX engine.

    Args:
        onnx_path: The engine.
        backend: A key of `BACKENDS`; None takes the best available one. A named backend that cannot run is an error,
            there is no silent way back to another.
        threads: CPU threads; None leaves it to the backend.

    Raises:
        BackendError: The backend is unknown, not installed or cannot run the engine.
    """
    path = Path(onnx_path)
    if not path.is_file():
        raise BackendError(f"{path}: no such engine")
    if threads is not None and threads < 1:
        raise BackendError(f"threads must be at least 1, got {threads}")
    module, attribute = BACKENDS[choose_backend(backend)].split(":")
    runner: Runner = getattr(import_module(module), attribute)(path, threads=threads)
    return runner
