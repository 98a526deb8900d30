"""OpenVINO on the CPU: the engine of choice where there is no GPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.errors import BackendError
from humar_edge.runtime.runners.base import Runner, TensorSpec, checked

_DEVICE = "CPU"
PLUGIN = "MultiscaleDeformableAttnPlugin"
"""What OpenVINO does not know in engines exported for TensorRT's plugin: it does not read their function bodies."""


class OpenVINORunner(Runner):
    """An ONNX engine compiled by OpenVINO for the CPU, tuned for latency."""

    def __init__(self, onnx_path: Path, *, threads: int | None = None, precision: str = "f32") -> None:
        """Read and compile the engine.

        Args:
            onnx_path: The engine.
            threads: CPU threads, None for all cores.
            precision: Of what the engine leaves in floating point: "f32" or "bf16". Left alone, OpenVINO takes bf16
                wherever the processor has it, which changes results unasked.

        Raises:
            BackendError: OpenVINO is not installed or cannot compile the engine.
        """
        try:
            import openvino
        except ImportError as error:
            raise BackendError("OpenVINO is not installed; run: pip install openvino") from error
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(str(onnx_path))
            # OpenVINO's CPU plugin gives the thread that first compiles a signal stack, and frees it wherever its last
            # reference is dropped. Had that thread gone on, the next signal would have killed the process.
            with ThreadPoolExecutor(1) as aside:
                compiled = aside.submit(core.compile_model, model, _DEVICE, options).result()
        except RuntimeError as error:
            advice = "; a deformable-attention plugin runs with --backend onnxruntime" if PLUGIN in str(error) else ""
            raise BackendError(f"OpenVINO cannot run {onnx_path}: {_reason(error)}{advice}") from error
        self.name = "openvino"
        self.device = f"{_DEVICE} ({core.get_property(_DEVICE, 'FULL_DEVICE_NAME').strip()})"
        # Optimisation leaves the order of the ports but adds names of inner tensors to them.
        self.input_specs = _specs(model.inputs, compiled.inputs)
        self.output_specs = _specs(model.outputs, compiled.outputs)
        self._request: Any = compiled.create_infer_request()
        self._lock = threading.Lock()

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; inputs are read in place, outputs are copies."""
        arrays = checked(self.input_specs, inputs)
        # One request is reused, and it takes one run at a time.
        with self._lock:
            if self._request is None:
                raise BackendError("this runner is closed")
            results = self._request.infer(arrays, share_inputs=True, share_outputs=False)
        return dict(zip(self.output_specs, results.values(), strict=True))

    def close(self) -> None:
        """Free the compiled engine."""
        with self._lock:
            self._request = None


def _specs(named: Any, compiled: Any) -> dict[str, TensorSpec]:
    return {name.get_any_name(): _spec(port) for name, port in zip(named, compiled, strict=True)}


def _spec(port: Any) -> TensorSpec:
    shape = tuple(-1 if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return TensorSpec(shape, np.dtype(port.get_element_type().to_dtype()))


def _reason(error: Exception) -> str:
    """OpenVINO's messages start with the place in its source; the last line that is not empty says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
