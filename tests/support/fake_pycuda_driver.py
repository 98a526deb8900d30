"""A double of the used part of `pycuda.driver`, on `host_gpu`; names and arguments as in its wrap_cudadrv.cpp."""

from __future__ import annotations

import ctypes
import time

import numpy as np
from host_gpu import GPU, GpuFault, HostStream


class Error(Exception):
    pass


class LogicError(Error):
    pass


_pushed: list[Context] = []


def _call(function, *arguments):
    if not _pushed:
        raise LogicError("no context is current")
    try:
        return function(*arguments)
    except GpuFault as fault:
        raise LogicError(f"{fault.code}: {fault}") from fault


def init(flags=0):
    if not GPU.devices:
        raise LogicError("cuInit failed: no CUDA-capable device is detected")


def get_version():
    return 12, 9, 0


def get_driver_version():
    return 13000


def mem_get_info():
    return _call(lambda: (GPU.total - GPU.used, GPU.total))


class device_attribute:
    INTEGRATED = 18


class Context:
    def __init__(self):
        self._detached = False
        GPU.objects += 1

    def push(self):
        if self._detached:
            raise LogicError("invalid context")
        _pushed.append(self)

    @staticmethod
    def pop():
        _pushed.pop()

    def detach(self):
        if self._detached:
            raise LogicError("cannot detach from invalid context")
        self._detached = True
        GPU.objects -= 1


class Device:
    def __init__(self, number):
        self._number = number

    @staticmethod
    def count():
        return GPU.devices

    def name(self):
        return "Host GPU"

    def compute_capability(self):
        return GPU.compute_capability

    def get_attribute(self, attribute):
        return GPU.integrated

    def retain_primary_context(self):
        return Context()


class DeviceAllocation:
    def __init__(self, address):
        self._address = address

    def __int__(self):
        return self._address

    def free(self):
        _call(GPU.free, self._address)


class PagelockedHostAllocation:
    def __init__(self, size):
        self._address = _call(GPU.host_alloc, size)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (self._address, False), "version": 3}

    def free(self):
        _call(GPU.host_free, self._address)


def mem_alloc(bytes):  # noqa: A002
    return DeviceAllocation(_call(GPU.malloc, bytes))


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    return np.asarray(PagelockedHostAllocation(int(shape) * np.dtype(dtype).itemsize))


class _Owned:
    def __init__(self, thing):
        self._handle = _call(GPU.new, thing)

    def __del__(self):
        if hasattr(self, "_handle"):
            GPU.drop(self._handle)


class Stream(_Owned):
    def __init__(self, flags=0):
        super().__init__(HostStream())

    @property
    def handle(self):
        return self._handle

    def synchronize(self):
        _call(GPU.sync, self._handle)


class Event(_Owned):
    def __init__(self, flags=0):
        super().__init__({"time": None})

    def record(self, stream=None):
        state = GPU.get(self._handle)
        _call(GPU.enqueue, stream.handle, lambda: state.update(time=time.perf_counter()), [])
        return self

    def time_till(self, event):
        return (GPU.get(event._handle)["time"] - GPU.get(self._handle)["time"]) * 1000


def _address(array):
    return ctypes.addressof(ctypes.c_uint8.from_buffer(array))


def memcpy_htod_async(dest, src, stream=None):
    _call(GPU.copy, dest, _address(src), src.nbytes, "h2d", stream.handle)


def memcpy_dtoh_async(dest, src, stream=None):
    _call(GPU.copy, _address(dest), src, dest.nbytes, "d2h", stream.handle)
