"""CUDA memory, streams and graphs through one small interface with two providers."""

from __future__ import annotations

import os
from importlib import import_module

from humar_edge.errors import BackendError, ConfigError
from humar_edge.runtime.device.base import DeviceInfo, DeviceProvider

__all__ = ["PROVIDERS", "DeviceInfo", "DeviceProvider", "open_device", "provider_problems"]

PROVIDERS: dict[str, tuple[str, str]] = {
    "cuda-python": ("cuda_python:CudaPython", "cuda-python is not installed; run: pip install 'humar-edge[tensorrt]'"),
    "pycuda": ("pycuda:PyCuda", "pycuda is not installed; run: pip install 'humar-edge[pycuda]'"),
}
"""Provider name -> ("module:Class" below this package, what to say when it cannot be imported); the first that works
is used."""


def open_device(name: str | None = None, index: int = 0) -> DeviceProvider:
    """Open the GPU with the named provider, or with the first of `PROVIDERS` that works.

    Args:
        name: Provider name; None means the environment variable HUMAR_EDGE_CUDA or else the table's order.
        index: CUDA device index.

    Raises:
        ConfigError: Unknown provider name.
        BackendError: No provider can be imported or no GPU answers; the message says why for each.
    """
    name = name or os.environ.get("HUMAR_EDGE_CUDA") or None
    if name is not None and name not in PROVIDERS:
        raise ConfigError(f"unknown CUDA provider '{name}'; choose from: {', '.join(PROVIDERS)}")
    problems = []
    for candidate in [name] if name else list(PROVIDERS):
        try:
            return _open(candidate, index)
        except BackendError as error:
            problems.append(str(error))
    raise BackendError("no CUDA device: " + "; ".join(problems))


def provider_problems(index: int = 0) -> dict[str, str]:
    """Provider name -> why it cannot be used, an empty string when it can."""
    problems = {}
    for name in PROVIDERS:
        try:
            _open(name, index).close()
            problems[name] = ""
        except BackendError as error:
            problems[name] = str(error)
    return problems


def _open(name: str, index: int) -> DeviceProvider:
    location, missing = PROVIDERS[name]
    module, attribute = location.split(":")
    try:
        loaded = import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        raise BackendError(missing) from error
    except ImportError as error:
        raise BackendError(f"{name} is installed but does not load ({error}); is the NVIDIA driver there?") from error
    device: DeviceProvider = getattr(loaded, attribute)(index)
    return device
