"""One deserialised engine with its memory, stream and graph: what runs a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import numpy as np
import tensorrt as trt

from humar_edge.errors import BackendError
from humar_edge.runtime.device import DeviceProvider
from humar_edge.runtime.device.base import Event, Graph, Stream
from humar_edge.runtime.runners.base import TensorSpec
from humar_edge.runtime.tensorrt.dtypes import numpy_dtype
from humar_edge.runtime.tensorrt.logger import MessageLog

MARKS = ("start", "on_device", "computed", "end")
PARTS = (("h2d_ms", "start", "on_device"), ("compute_ms", "on_device", "computed"), ("d2h_ms", "computed", "end"))
"""Events of a timed run, and the parts of a frame between them."""


class EngineLoadError(BackendError):
    """TensorRT does not accept the engine: truncated, or of another version or GPU."""


@dataclass(frozen=True)
class EngineMemory:
    """Bytes that one engine takes.

    Attributes:
        engine: The engine file: weights and code.
        activations: TensorRT's scratch memory for layers and their outputs.
        io: Input and output tensors on the device.
        pinned: Input and output buffers in host memory.
        device_peak: Device memory that disappeared while the engine was loaded, CUDA's own included; other programs on
            the GPU disturb it.
    """

    engine: int
    activations: int
    io: int
    pinned: int
    device_peak: int

    @property
    def device_total(self) -> int:
        """Device memory that the engine itself accounts for; CUDA's context (some hundred MB) comes on top."""
        return self.engine + self.activations + self.io


@dataclass(frozen=True)
class _Tensor:
    name: str
    spec: TensorSpec
    device: int
    pinned: np.ndarray
    view: np.ndarray


class EngineSession:
    """Runs an engine on the device that is active in the calling thread. Not thread-safe.

    Device memory, pinned memory, stream, events and graph are made once; a frame allocates none of them.

    Args:
        engine: The serialised engine.
        device: The GPU.
        cuda_graph: Record the work of a frame once and replay it, when the engine allows that.
        timing: Measure the parts of every frame with CUDA events.
        host_code: Allow code in the engine that runs on the CPU (version-compatible engines carry some).

    Raises:
        EngineLoadError: TensorRT does not accept the engine.
        BackendError: No memory, dynamic shapes, or types without a numpy equivalent.
    """

    def __init__(
        self,
        engine: bytes,
        device: DeviceProvider,
        cuda_graph: bool = True,
        timing: bool = False,
        host_code: bool = False,
    ) -> None:
        self._device = device
        self._stack = ExitStack()
        self._graph: Graph | None = None
        self._stream: Stream = None
        self._tensors: list[_Tensor] = []
        self._events: dict[str, Event] = {}
        self._log = MessageLog()
        self.graph_problem = "" if cuda_graph else "switched off"
        self.timings: dict[str, float] = {}
        try:
            free_before = device.memory()[0]
            self._load(engine, host_code)
            self._stream = device.stream_create()
            self._stack.callback(self._drop_stream)
            self._tensors = [self._tensor(self._engine.get_tensor_name(i)) for i in range(self._engine.num_io_tensors)]
            if timing:
                self._events = {mark: self._event() for mark in MARKS}
            is_input = {t.name: self._engine.get_tensor_mode(t.name) == trt.TensorIOMode.INPUT for t in self._tensors}
            self._inputs = [tensor for tensor in self._tensors if is_input[tensor.name]]
            self._outputs = [tensor for tensor in self._tensors if not is_input[tensor.name]]
            self._stack.callback(device.stream_sync, self._stream)  # nothing is freed under running work
            self._warm_up()
            self.memory = self._measure(len(engine), free_before)
        except BaseException:
            with suppress(BackendError):  # the first error is the one to report
                self.close()
            raise

    @property
    def input_specs(self) -> dict[str, TensorSpec]:
        """Inputs by name."""
        return {tensor.name: tensor.spec for tensor in self._inputs}

    @property
    def output_specs(self) -> dict[str, TensorSpec]:
        """Outputs by name."""
        return {tensor.name: tensor.spec for tensor in self._outputs}

    @property
    def uses_graph(self) -> bool:
        """Whether frames are replayed from a CUDA graph."""
        return self._graph is not None

    def run(
        self, inputs: Mapping[str, np.ndarray], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """One frame. Inputs have been checked against `input_specs`.

        Args:
            inputs: Arrays by name.
            out: Arrays of the outputs' shapes and types to write into; None allocates new ones on the host.
        """
        started = time.perf_counter()
        for tensor in self._inputs:
            np.copyto(tensor.view, inputs[tensor.name])
        enqueueing = time.perf_counter()
        self._mark("start")
        for tensor in self._inputs:
            self._device.copy_to_device(tensor.device, tensor.pinned, self._stream)
        self._mark("on_device")
        self._compute()
        self._mark("computed")
        for tensor in self._outputs:
            self._device.copy_to_host(tensor.pinned, tensor.device, self._stream)
        self._mark("end")
        enqueued = time.perf_counter()
        self._device.stream_sync(self._stream)
        results = {tensor.name: self._result(tensor, out) for tensor in self._outputs}
        if self._events:
            self._time(started, enqueueing, enqueued)
        return results

    def close(self) -> None:
        """Free everything, last made first; the second call does nothing."""
        try:
            self._stack.close()
        finally:
            self._tensors, self._inputs, self._outputs, self._events = [], [], [], {}

    def _load(self, engine: bytes, host_code: bool) -> None:
        runtime = trt.Runtime(self._log)
        runtime.engine_host_code_allowed = host_code
        loaded = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            raise EngineLoadError(self._log.take_errors() or "TensorRT gave no reason")
        context = loaded.create_execution_context()
        if context is None:
            raise BackendError(f"TensorRT makes no execution context: {self._log.take_errors() or 'out of memory?'}")
        self._engine: trt.ICudaEngine = loaded
        self._context: trt.IExecutionContext = context
        self._runtime: trt.Runtime = runtime
        self._stack.callback(self._drop_engine)

    def _drop_engine(self) -> None:
        # TensorRT frees an object with its last reference; a context must go before its engine.
        del self._context
        del self._engine
        del self._runtime

    def _drop_stream(self) -> None:
        self._device.stream_destroy(self._stream)
        self._stream = None

    def _tensor(self, name: str) -> _Tensor:
        shape = tuple(int(size) for size in self._engine.get_tensor_shape(name))
        spec = TensorSpec(shape, numpy_dtype(self._engine.get_tensor_dtype(name), name))
        if any(size < 0 for size in shape):
            raise BackendError(f"tensor '{name}' is {spec}: the shape is dynamic; export with a fixed input size")
        if self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise BackendError(f"tensor '{name}' must be in host memory (a shape tensor), which is not supported")
        nbytes = max(int(np.prod(shape, dtype=np.int64)), 1) * spec.dtype.itemsize
        address = self._device.malloc(nbytes)
        self._stack.callback(self._device.free, address)
        pinned = self._device.host_alloc(nbytes)
        self._stack.callback(self._device.host_free, pinned)
        # A frame is never uninitialised memory, not even the warm-up's.
        pinned[:] = 0
        if not self._context.set_tensor_address(name, address):
            raise BackendError(f"TensorRT refuses the memory of tensor '{name}' {spec}: {self._log.take_errors()}")
        return _Tensor(name, spec, address, pinned, pinned.view(spec.dtype).reshape(shape))

    def _event(self) -> Event:
        event = self._device.event_create()
        self._stack.callback(self._device.event_destroy, event)
        return event

    def _warm_up(self) -> None:
        """Run once (TensorRT initialises lazily, which must not happen while recording), then record the graph."""
        for tensor in self._inputs:
            self._device.copy_to_device(tensor.device, tensor.pinned, self._stream)
        self._enqueue()
        self._device.stream_sync(self._stream)
        if self.graph_problem:
            return
        try:
            self._graph = self._capture(self._enqueue)
            self._stack.callback(self._drop_graph)
        except BackendError as error:
            self.graph_problem = str(error)
            self._log.take_errors()

    def _capture(self, enqueue: Callable[[], None]) -> Graph:
        self._device.capture_begin(self._stream)
        try:
            enqueue()
        except BaseException:
            self._abandon_capture()
            raise
        return self._device.capture_end(self._stream)

    def _abandon_capture(self) -> None:
        """Take the stream out of recording after a failure inside; that it fails too is expected."""
        try:
            graph = self._device.capture_end(self._stream)
        except BackendError:
            return
        self._device.graph_destroy(graph)

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        self._device.graph_destroy(graph)

    def _compute(self) -> None:
        if self._graph is not None:
            self._device.graph_launch(self._graph, self._stream)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._device.stream_handle(self._stream)):
            shapes = ", ".join(f"{tensor.name} {tensor.spec}" for tensor in self._tensors)
            raise BackendError(f"TensorRT failed to run ({shapes}): {self._log.take_errors() or 'it gave no reason'}")

    def _mark(self, mark: str) -> None:
        if self._events:
            self._device.event_record(self._events[mark], self._stream)

    def _result(self, tensor: _Tensor, out: Mapping[str, np.ndarray] | None) -> np.ndarray:
        if out is None:
            return tensor.view.copy()
        np.copyto(out[tensor.name], tensor.view)
        return out[tensor.name]

    def _time(self, started: float, enqueueing: float, enqueued: float) -> None:
        events = self._events
        self.timings = {part: self._device.event_ms(events[first], events[last]) for part, first, last in PARTS}
        self.timings["stage_ms"] = 1000 * (enqueueing - started)
        self.timings["enqueue_ms"] = 1000 * (enqueued - enqueueing)
        self.timings["total_ms"] = 1000 * (time.perf_counter() - started)

    def _measure(self, engine_bytes: int, free_before: int) -> EngineMemory:
        io = sum(tensor.pinned.nbytes for tensor in self._tensors)
        activations = int(self._engine.device_memory_size_v2)
        return EngineMemory(engine_bytes, activations, io, io, max(free_before - self._device.memory()[0], 0))
