"""CUDA through NVIDIA's cuda-python (12.6 or newer, 13.x)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart

from humar_edge.errors import BackendError
from humar_edge.runtime.device.base import DeviceInfo, Event, Graph, Stream

ADVICE = {
    "cudaErrorInsufficientDriver": "no NVIDIA driver, or one too old for this CUDA; `nvidia-smi` shows its version",
    "cudaErrorNoDevice": "no NVIDIA GPU is visible; look at CUDA_VISIBLE_DEVICES and the container's --gpus flag",
    "cudaErrorMemoryAllocation": "close other programs on the GPU or choose a smaller combination",
    "cudaErrorInvalidDevice": "there is no GPU of this index",
}
"""CUDA error name -> what to do."""


def _check(result: tuple[Any, ...], doing: str) -> Any:
    """The values after the status of a call; raises `BackendError` when the status is not success."""
    status, *values = result
    if status != cudart.cudaError_t.cudaSuccess:
        name = status.name
        advice = f"; {ADVICE[name]}" if name in ADVICE else ""
        raise BackendError(f"CUDA failed to {doing}: {name}{advice}")
    return values[0] if len(values) == 1 else tuple(values)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


class CudaPython:
    """See `DeviceProvider`."""

    name = "cuda-python"

    def __init__(self, index: int = 0) -> None:
        count = _check(cudart.cudaGetDeviceCount(), "count the GPUs")
        if index >= count:
            raise BackendError(f"there is no GPU {index}: {count} found; look at CUDA_VISIBLE_DEVICES")
        self.index = index

    def info(self) -> DeviceInfo:
        """See `DeviceProvider`."""
        properties = _check(cudart.cudaGetDeviceProperties(self.index), "read the properties of the GPU")
        name = properties.name
        return DeviceInfo(
            index=self.index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            compute_capability=f"{properties.major}.{properties.minor}",
            driver_cuda=_version(_check(cudart.cudaDriverGetVersion(), "read the driver version")),
            runtime_cuda=_version(_check(cudart.cudaRuntimeGetVersion(), "read the CUDA version")),
            integrated=bool(properties.integrated),
        )

    def memory(self) -> tuple[int, int]:
        """See `DeviceProvider`."""
        free, total = _check(cudart.cudaMemGetInfo(), "read the free memory")
        return int(free), int(total)

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `DeviceProvider`."""
        _check(cudart.cudaSetDevice(self.index), f"select GPU {self.index}")
        yield

    def malloc(self, nbytes: int) -> int:
        """See `DeviceProvider`."""
        return int(_check(cudart.cudaMalloc(nbytes), f"allocate {nbytes} bytes of device memory"))

    def free(self, address: int) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaFree(address), "free device memory")

    def host_alloc(self, nbytes: int) -> np.ndarray:
        """See `DeviceProvider`."""
        flags = cudart.cudaHostAllocDefault
        address = int(_check(cudart.cudaHostAlloc(nbytes, flags), f"allocate {nbytes} bytes of pinned memory"))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def host_free(self, array: np.ndarray) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaFreeHost(array.ctypes.data), "free pinned memory")

    def stream_create(self) -> Stream:
        """See `DeviceProvider`."""
        return _check(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking), "create a stream")

    def stream_handle(self, stream: Stream) -> int:
        """See `DeviceProvider`."""
        return int(stream)

    def stream_destroy(self, stream: Stream) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaStreamDestroy(stream), "destroy a stream")

    def stream_sync(self, stream: Stream) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaStreamSynchronize(stream), "finish the work of the stream")

    def copy_to_device(self, address: int, source: np.ndarray, stream: Stream) -> None:
        """See `DeviceProvider`."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _check(cudart.cudaMemcpyAsync(address, source.ctypes.data, source.nbytes, kind, stream), "copy to the GPU")

    def copy_to_host(self, target: np.ndarray, address: int, stream: Stream) -> None:
        """See `DeviceProvider`."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _check(cudart.cudaMemcpyAsync(target.ctypes.data, address, target.nbytes, kind, stream), "copy from the GPU")

    def event_create(self) -> Event:
        """See `DeviceProvider`."""
        return _check(cudart.cudaEventCreate(), "create an event")

    def event_record(self, event: Event, stream: Stream) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaEventRecord(event, stream), "record an event")

    def event_ms(self, start: Event, end: Event) -> float:
        """See `DeviceProvider`."""
        return float(_check(cudart.cudaEventElapsedTime(start, end), "read the time between two events"))

    def event_destroy(self, event: Event) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaEventDestroy(event), "destroy an event")

    def capture_begin(self, stream: Stream) -> None:
        """See `DeviceProvider`."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _check(cudart.cudaStreamBeginCapture(stream, mode), "begin a graph capture")

    def capture_end(self, stream: Stream) -> Graph:
        """See `DeviceProvider`."""
        graph = _check(cudart.cudaStreamEndCapture(stream), "end a graph capture")
        try:
            return _check(cudart.cudaGraphInstantiate(graph, 0), "instantiate a graph")
        finally:
            _check(cudart.cudaGraphDestroy(graph), "destroy a captured graph")

    def graph_launch(self, graph: Graph, stream: Stream) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaGraphLaunch(graph, stream), "launch a graph")

    def graph_destroy(self, graph: Graph) -> None:
        """See `DeviceProvider`."""
        _check(cudart.cudaGraphExecDestroy(graph), "destroy a graph")

    def close(self) -> None:
        """See `DeviceProvider`."""
