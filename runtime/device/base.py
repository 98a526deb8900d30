"""The few CUDA operations the TensorRT runtime needs, behind one small interface."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Stream = Any
Event = Any
Graph = Any
"""Handles are whatever the provider hands out: the runtime only passes them back."""


@dataclass(frozen=True)
class DeviceInfo:
    """The GPU in use.

    Attributes:
        index: CUDA device index.
        name: Product name.
        compute_capability: For example "8.7".
        driver_cuda: CUDA version the driver supports, "12.9".
        runtime_cuda: CUDA version of the runtime library in use, "12.9".
        integrated: True when the GPU shares the memory of the CPU (Jetson).
    """

    index: int
    name: str
    compute_capability: str
    driver_cuda: str
    runtime_cuda: str
    integrated: bool


class DeviceProvider(Protocol):
    """CUDA memory, streams, events and graphs of one GPU.

    Every method raises `BackendError` with the name of the CUDA error when the driver refuses. Sizes are bytes. Device
    addresses are plain integers; pinned host memory is a uint8 array that stays valid until `host_free`.
    """

    name: str

    def info(self) -> DeviceInfo:
        """Name, compute capability and CUDA versions."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of device memory."""

    def active(self) -> AbstractContextManager[None]:
        """Make the GPU current for the calling thread; every other call happens inside."""

    def malloc(self, nbytes: int) -> int:
        """Device memory."""

    def free(self, address: int) -> None:
        """Give back what `malloc` returned."""

    def host_alloc(self, nbytes: int) -> np.ndarray:
        """Page-locked host memory as a uint8 array [nbytes]."""

    def host_free(self, array: np.ndarray) -> None:
        """Give back the very array that `host_alloc` returned; views of it are invalid afterwards."""

    def stream_create(self) -> Stream:
        """A stream that does not synchronise with the default stream."""

    def stream_handle(self, stream: Stream) -> int:
        """The cudaStream_t as an integer, as TensorRT takes it."""

    def stream_destroy(self, stream: Stream) -> None:
        """Give back a stream."""

    def stream_sync(self, stream: Stream) -> None:
        """Wait until all work of the stream is done."""

    def copy_to_device(self, address: int, source: np.ndarray, stream: Stream) -> None:
        """Enqueue a copy of all bytes of pinned `source` to device memory."""

    def copy_to_host(self, target: np.ndarray, address: int, stream: Stream) -> None:
        """Enqueue a copy of `target.nbytes` bytes of device memory to pinned `target`."""

    def event_create(self) -> Event:
        """An event with timing."""

    def event_record(self, event: Event, stream: Stream) -> None:
        """Mark the present end of the stream."""

    def event_ms(self, start: Event, end: Event) -> float:
        """Milliseconds between two events that have happened."""

    def event_destroy(self, event: Event) -> None:
        """Give back an event."""

    def capture_begin(self, stream: Stream) -> None:
        """Record what is enqueued on the stream instead of running it."""

    def capture_end(self, stream: Stream) -> Graph:
        """Stop recording and return the instantiated graph; raises when the recording was invalid."""

    def graph_launch(self, graph: Graph, stream: Stream) -> None:
        """Enqueue a recorded graph."""

    def graph_destroy(self, graph: Graph) -> None:
        """Give back a graph."""

    def close(self) -> None:
        """Let go of the GPU; may be called twice."""
