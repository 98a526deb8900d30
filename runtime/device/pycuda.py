"""CUDA through PyCUDA, for images that carry it (JetPack). It has no CUDA graphs: the runner enqueues instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda.driver as drv

from humar_edge.errors import BackendError
from humar_edge.runtime.device.base import DeviceInfo, Event, Graph, Stream

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except drv.Error as error:
        raise BackendError(f"CUDA failed to {what}: {error}") from error


def _dotted(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


class PyCuda:
    """See `DeviceProvider`. Works in the primary context, which is the one TensorRT uses."""

    name = "pycuda"

    def __init__(self, index: int = 0) -> None:
        with _doing("start; is the NVIDIA driver there?"):
            drv.init()
            count = drv.Device.count()
        if index >= count:
            raise BackendError(f"there is no GPU {index}: {count} found; look at CUDA_VISIBLE_DEVICES")
        with _doing(f"open GPU {index}"):
            self._device = drv.Device(index)
            self._context: Any = self._device.retain_primary_context()
        self.index = index
        self._memory: dict[int, Any] = {}

    def info(self) -> DeviceInfo:
        """See `DeviceProvider`."""
        major, minor = self._device.compute_capability()
        return DeviceInfo(
            index=self.index,
            name=self._device.name(),
            compute_capability=f"{major}.{minor}",
            driver_cuda=_dotted(drv.get_driver_version()),
            runtime_cuda=".".join(str(part) for part in drv.get_version()[:2]),
            integrated=bool(self._device.get_attribute(drv.device_attribute.INTEGRATED)),
        )

    def memory(self) -> tuple[int, int]:
        """See `DeviceProvider`."""
        with _doing("read the free memory"):
            free, total = drv.mem_get_info()
        return int(free), int(total)

    @contextmanager
    def active(self) -> Iterator[None]:
        """See `DeviceProvider`."""
        if self._context is None:
            raise BackendError("the GPU has been closed")
        with _doing(f"select GPU {self.index}"):
            self._context.push()
        try:
            yield
        finally:
            drv.Context.pop()

    def malloc(self, nbytes: int) -> int:
        """See `DeviceProvider`."""
        with _doing(f"allocate {nbytes} bytes of device memory"):
            allocation = drv.mem_alloc(nbytes)
        self._memory[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        """See `DeviceProvider`."""
        if address not in self._memory:
            raise BackendError("CUDA failed to free device memory: it was not allocated here or is freed already")
        with _doing("free device memory"):
            self._memory.pop(address).free()

    def host_alloc(self, nbytes: int) -> np.ndarray:
        """See `DeviceProvider`."""
        with _doing(f"allocate {nbytes} bytes of pinned memory"):
            array: np.ndarray = drv.pagelocked_empty(nbytes, np.uint8)
        return array

    def host_free(self, array: np.ndarray) -> None:
        """See `DeviceProvider`."""
        allocation: Any = array.base
        with _doing("free pinned memory"):
            allocation.free()

    def stream_create(self) -> Stream:
        """See `DeviceProvider`."""
        with _doing("create a stream"):
            return drv.Stream(NON_BLOCKING)

    def stream_handle(self, stream: Stream) -> int:
        """See `DeviceProvider`."""
        return int(stream.handle)

    def stream_destroy(self, stream: Stream) -> None:
        """PyCUDA destroys a stream with its last reference, which the caller gives up here."""

    def stream_sync(self, stream: Stream) -> None:
        """See `DeviceProvider`."""
        with _doing("finish the work of the stream"):
            stream.synchronize()

    def copy_to_device(self, address: int, source: np.ndarray, stream: Stream) -> None:
        """See `DeviceProvider`."""
        with _doing("copy to the GPU"):
            drv.memcpy_htod_async(address, source, stream)

    def copy_to_host(self, target: np.ndarray, address: int, stream: Stream) -> None:
        """See `DeviceProvider`."""
        with _doing("copy from the GPU"):
            drv.memcpy_dtoh_async(target, address, stream)

    def event_create(self) -> Event:
        """See `DeviceProvider`."""
        with _doing("create an event"):
            return drv.Event()

    def event_record(self, event: Event, stream: Stream) -> None:
        """See `DeviceProvider`."""
        with _doing("record an event"):
            event.record(stream)

    def event_ms(self, start: Event, end: Event) -> float:
        """See `DeviceProvider`."""
        with _doing("read the time between two events"):
            return float(start.time_till(end))

    def event_destroy(self, event: Event) -> None:
        """PyCUDA destroys an event with its last reference, which the caller gives up here."""

    def capture_begin(self, stream: Stream) -> None:
        """PyCUDA cannot record graphs."""
        raise BackendError("PyCUDA has no CUDA graphs; use cuda-python for them")

    def capture_end(self, stream: Stream) -> Graph:
        """PyCUDA cannot record graphs."""
        raise BackendError("PyCUDA has no CUDA graphs; use cuda-python for them")

    def graph_launch(self, graph: Graph, stream: Stream) -> None:
        """PyCUDA cannot record graphs."""
        raise BackendError("PyCUDA has no CUDA graphs; use cuda-python for them")

    def graph_destroy(self, graph: Graph) -> None:
        """PyCUDA cannot record graphs."""
        raise BackendError("PyCUDA has no CUDA graphs; use cuda-python for them")

    def close(self) -> None:
        """See `DeviceProvider`."""
        context, self._context = self._context, None
        if context is not None:
            with _doing("leave the GPU"):
                context.detach()
