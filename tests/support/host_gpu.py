"""A 'GPU' in host memory that is stricter than a real one: every rule of CUDA that a program breaks is a fault.

* Device addresses are not host addresses: touching them from Python crashes.
* Work of a stream runs when the stream is synchronised, not before: a forgotten synchronisation reads poison.
* A copy must stay inside one live allocation on either side, with host memory pinned.
* Freed or new memory holds poison. Freeing twice, freeing under pending work, and what is alive at the end are faults.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

POISON = 0xCD
DEVICE_BASE = 1 << 52
"""Not a canonical address on x86-64 or AArch64: dereferencing it on the host is a crash."""


class GpuFault(Exception):
    """A CUDA call that the real driver would refuse, or worse, not notice."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Block:
    """One allocation; `buffer` holds its bytes."""

    address: int
    size: int
    buffer: ctypes.Array
    live: bool = True


@dataclass
class Work:
    """Something enqueued; `touches` are the blocks it needs alive."""

    run: Callable[[], None]
    touches: list[Block]


@dataclass
class HostStream:
    """Pending work, or the recording while a capture is on."""

    pending: list[Work] = field(default_factory=list)
    recording: list[Work] | None = None
    broken: bool = False


@dataclass
class HostGpu:
    """The state of the GPU; one per test."""

    total: int = 4 << 30
    used: int = 0
    compute_capability: tuple[int, int] = (8, 7)
    integrated: int = 0
    devices: int = 1
    device: dict[int, Block] = field(default_factory=dict)
    pinned: dict[int, Block] = field(default_factory=dict)
    handles: dict[int, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    calls: list[tuple] = field(default_factory=list)
    capture_problem: str = ""
    objects: int = 0
    _numbers: count = field(default_factory=lambda: count(1))
    _next_device: int = DEVICE_BASE

    def fault(self, code: str, text: str) -> GpuFault:
        """Remember a fault and return it for raising."""
        self.faults.append(f"{code}: {text}")
        return GpuFault(code, text)

    def _no_capture(self, what: str) -> None:
        if any(isinstance(s, HostStream) and s.recording is not None for s in self.handles.values()):
            raise self.fault("cudaErrorStreamCaptureUnsupported", f"{what} while a stream records")

    def malloc(self, size: int) -> int:
        self._no_capture("malloc")
        self.calls.append(("malloc", size))
        if size <= 0 or self.used + size > self.total:
            raise GpuFault("cudaErrorMemoryAllocation", f"{size} bytes")
        buffer = (ctypes.c_uint8 * size)(*[POISON] * min(size, 64))
        ctypes.memset(buffer, POISON, size)
        address = self._next_device
        self._next_device += (size + 511) // 256 * 256
        self.device[address] = Block(address, size, buffer)
        self.used += size
        return address

    def free(self, address: int) -> None:
        self._release(self.device, address, "device memory")
        self.used -= self.device[address].size

    def host_alloc(self, size: int) -> int:
        self._no_capture("host_alloc")
        self.calls.append(("host_alloc", size))
        buffer = (ctypes.c_uint8 * size)()
        ctypes.memset(buffer, POISON, size)
        address = ctypes.addressof(buffer)
        self.pinned[address] = Block(address, size, buffer)
        return address

    def host_free(self, address: int) -> None:
        self._release(self.pinned, address, "pinned memory")

    def _release(self, blocks: dict[int, Block], address: int, what: str) -> None:
        self._no_capture("free")
        block = blocks.get(address)
        if block is None:
            raise self.fault("cudaErrorInvalidValue", f"free of {what} that was never allocated")
        if not block.live:
            raise self.fault("cudaErrorInvalidValue", f"double free of {what}")
        for stream in self.handles.values():
            if isinstance(stream, HostStream) and any(block in work.touches for work in stream.pending):
                raise self.fault("pending", f"free of {what} under pending work")
        block.live = False
        ctypes.memset(block.buffer, POISON, block.size)

    def block(self, address: int, size: int, where: str) -> tuple[Block, int]:
        """The live block that holds [address, address + size), and its host address."""
        blocks = self.device if where == "device" else self.pinned
        for block in blocks.values():
            if block.address <= address and address + size <= block.address + block.size:
                if not block.live:
                    raise self.fault("cudaErrorIllegalAddress", f"use after free of {where} memory")
                return block, ctypes.addressof(block.buffer) + address - block.address
        raise self.fault("cudaErrorIllegalAddress", f"{size} bytes are not in one {where} allocation")

    def new(self, thing: object) -> int:
        """A handle for a stream, event or graph."""
        self._no_capture(f"creation of a {type(thing).__name__}")
        handle = (next(self._numbers) << 8) + (1 << 40)
        self.handles[handle] = thing
        return handle

    def drop(self, handle: int) -> None:
        thing = self.get(handle)
        if isinstance(thing, HostStream) and thing.pending:
            raise self.fault("pending", "stream destroyed with pending work")
        del self.handles[handle]

    def get(self, handle: int):
        """What a handle stands for."""
        if handle not in self.handles:
            raise self.fault("cudaErrorInvalidResourceHandle", "a handle that does not exist or was destroyed")
        return self.handles[handle]

    def copy(self, target: int, source: int, size: int, direction: str, stream: int) -> None:
        """direction "h2d" or "d2h"."""
        where = ("device", "pinned") if direction == "h2d" else ("pinned", "device")
        to, to_address = self.block(target, size, where[0])
        origin, origin_address = self.block(source, size, where[1])
        if size != to.size or size != origin.size:
            raise self.fault("size", f"{direction} of {size} bytes between {origin.size} and {to.size}")
        self.calls.append((direction, size, stream))
        self.enqueue(stream, lambda: ctypes.memmove(to_address, origin_address, size), [to, origin])

    def enqueue(self, stream: int, run: Callable[[], object], touches: list[Block]) -> None:
        target: HostStream = self.get(stream)
        if target.recording is not None:
            if self.capture_problem:
                target.broken = True
                raise GpuFault("cudaErrorStreamCaptureUnsupported", self.capture_problem)
            target.recording.append(Work(lambda: run() and None, touches))
        else:
            target.pending.append(Work(lambda: run() and None, touches))

    def sync(self, stream: int) -> None:
        target: HostStream = self.get(stream)
        if target.recording is not None:
            target.broken = True
            raise self.fault("cudaErrorStreamCaptureUnsupported", "synchronisation while the stream records")
        self.calls.append(("sync", stream))
        while target.pending:
            work = target.pending.pop(0)
            if not all(block.live for block in work.touches):
                raise self.fault("cudaErrorIllegalAddress", "work on freed memory")
            work.run()

    def capture_begin(self, stream: int) -> None:
        target: HostStream = self.get(stream)
        if target.recording is not None:
            raise self.fault("cudaErrorIllegalState", "the stream records already")
        target.recording, target.broken = [], False

    def capture_end(self, stream: int) -> int:
        target: HostStream = self.get(stream)
        recorded, target.recording = target.recording, None
        if recorded is None:
            raise self.fault("cudaErrorIllegalState", "the stream does not record")
        if target.broken:
            raise GpuFault("cudaErrorStreamCaptureInvalidated", "the recording was invalidated")
        return self.new(recorded)

    def launch(self, graph: int, stream: int) -> None:
        self.calls.append(("launch", stream))
        for work in self.get(graph):
            if not all(block.live for block in work.touches):
                raise self.fault("cudaErrorIllegalAddress", "graph on freed memory")
            self.enqueue(stream, work.run, work.touches)

    def problems(self) -> list[str]:
        """Faults so far, and everything that is still alive."""
        left = [f"leak: device memory of {b.size} bytes" for b in self.device.values() if b.live]
        left += [f"leak: pinned memory of {b.size} bytes" for b in self.pinned.values() if b.live]
        left += [f"leak: {type(thing).__name__}" for thing in self.handles.values()]
        if self.objects:
            left.append(f"leak: {self.objects} TensorRT objects")
        return self.faults + left


GPU = HostGpu()


def reset(**settings) -> HostGpu:
    """A new GPU for a new test."""
    for name, value in vars(HostGpu(**settings)).items():
        setattr(GPU, name, value)
    return GPU
