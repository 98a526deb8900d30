"""onnxruntime on the CPU: the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.errors import BackendError
from humar_edge.runtime.runners.base import Runner, TensorSpec, checked

_PROVIDER = "CPUExecutionProvider"

_DTYPES: dict[str, type] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class ONNXRuntimeRunner(Runner):
    """An ONNX engine run by onnxruntime's CPU provider."""

    def __init__(self, onnx_path: Path, *, threads: int | None = None) -> None:
        """Open a session.

        Args:
            onnx_path: The engine.
            threads: CPU threads, None for all cores.

        Raises:
            BackendError: onnxruntime is not installed, cannot run the engine, or took another provider.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError("onnxruntime is not installed; run: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: unused initialisers are no concern of a user
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(str(onnx_path), options, providers=[_PROVIDER])
        except Exception as error:  # its exceptions share no base class of their own
            raise BackendError(f"onnxruntime cannot run {onnx_path}: {str(error).splitlines()[0]}") from error
        if session.get_providers() != [_PROVIDER]:
            raise BackendError(f"onnxruntime runs on {', '.join(session.get_providers())} instead of {_PROVIDER}")
        self.name = "onnxruntime"
        self.device = f"CPU ({_PROVIDER})"
        self.input_specs = {item.name: _spec(item) for item in session.get_inputs()}
        self.output_specs = {item.name: _spec(item) for item in session.get_outputs()}
        self._session: Any = session

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; every run has its own outputs."""
        if self._session is None:
            raise BackendError("this runner is closed")
        results = self._session.run(list(self.output_specs), checked(self.input_specs, inputs))
        return dict(zip(self.output_specs, results, strict=True))

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _spec(item: Any) -> TensorSpec:
    if item.type not in _DTYPES:
        raise BackendError(f"tensor '{item.name}' has type {item.type}, which is not supported")
    shape = tuple(size if isinstance(size, int) else -1 for size in item.shape)
    return TensorSpec(shape, np.dtype(_DTYPES[item.type]))
