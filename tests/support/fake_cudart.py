"""A double of the used part of `cuda.bindings.runtime`, on `host_gpu`. It offers nothing the real module lacks."""

from __future__ import annotations

import enum
import time

from host_gpu import GPU, GpuFault, HostStream

cudaHostAllocDefault = 0
cudaStreamNonBlocking = 1


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalState = 401
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class _Handle(int):
    """Like the real handle types: an object that int() accepts."""


class cudaStream_t(_Handle):
    pass


class cudaEvent_t(_Handle):
    pass


class cudaGraph_t(_Handle):
    pass


class cudaGraphExec_t(_Handle):
    pass


class cudaDeviceProp:
    def __init__(self):
        self.name = b"Host GPU"
        self.major, self.minor = GPU.compute_capability
        self.integrated = GPU.integrated


def _status(call, *arguments):
    """The result tuple of a call: success and the value, or the error and one None per value."""
    try:
        value = call(*arguments)
    except GpuFault as fault:
        return getattr(cudaError_t, fault.code, cudaError_t.cudaErrorInvalidValue), None
    return cudaError_t.cudaSuccess, value


def _plain(call, *arguments):
    return _status(call, *arguments)[:1]


def cudaGetDeviceCount():
    if not GPU.devices:
        return cudaError_t.cudaErrorInsufficientDriver, None
    return cudaError_t.cudaSuccess, GPU.devices


def cudaGetDeviceProperties(device):
    return cudaError_t.cudaSuccess, cudaDeviceProp()


def cudaDriverGetVersion():
    return cudaError_t.cudaSuccess, 13000


def cudaRuntimeGetVersion():
    return cudaError_t.cudaSuccess, 12090


def cudaSetDevice(device):
    return (cudaError_t.cudaSuccess,)


def cudaMemGetInfo():
    return cudaError_t.cudaSuccess, GPU.total - GPU.used, GPU.total


def cudaMalloc(size):
    return _status(GPU.malloc, size)


def cudaFree(devPtr):
    return _plain(GPU.free, devPtr)


def cudaHostAlloc(size, flags):
    return _status(GPU.host_alloc, size)


def cudaFreeHost(ptr):
    return _plain(GPU.host_free, ptr)


def cudaStreamCreateWithFlags(flags):
    if flags != cudaStreamNonBlocking:
        raise AssertionError("the stream would wait for the default stream")
    return cudaError_t.cudaSuccess, cudaStream_t(GPU.new(HostStream()))


def cudaStreamDestroy(stream):
    return _plain(GPU.drop, int(stream))


def cudaStreamSynchronize(stream):
    return _plain(GPU.sync, int(stream))


def cudaMemcpyAsync(dst, src, count, kind, stream):
    direction = "h2d" if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else "d2h"
    return _plain(GPU.copy, dst, src, count, direction, int(stream))


def cudaEventCreate():
    return cudaError_t.cudaSuccess, cudaEvent_t(GPU.new({"time": None}))


def cudaEventRecord(event, stream):
    state = GPU.get(int(event))
    state["time"] = None
    return _plain(GPU.enqueue, int(stream), lambda: state.update(time=time.perf_counter()), [])


def cudaEventElapsedTime(start, end):
    times = [GPU.get(int(event))["time"] for event in (start, end)]
    if None in times:
        return cudaError_t.cudaErrorInvalidResourceHandle, None
    return cudaError_t.cudaSuccess, (times[1] - times[0]) * 1000


def cudaEventDestroy(event):
    return _plain(GPU.drop, int(event))


def cudaStreamBeginCapture(stream, mode):
    return _plain(GPU.capture_begin, int(stream))


def cudaStreamEndCapture(stream):
    status, graph = _status(GPU.capture_end, int(stream))
    return status, graph if graph is None else cudaGraph_t(graph)


def cudaGraphInstantiate(graph, flags):
    return cudaError_t.cudaSuccess, cudaGraphExec_t(GPU.new(list(GPU.get(int(graph)))))


def cudaGraphDestroy(graph):
    return _plain(GPU.drop, int(graph))


def cudaGraphLaunch(graphExec, stream):
    return _plain(GPU.launch, int(graphExec), int(stream))


def cudaGraphExecDestroy(graphExec):
    return _plain(GPU.drop, int(graphExec))
