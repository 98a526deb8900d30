"""A double of the used part of `tensorrt`: engines are ONNX files that onnxruntime runs on `host_gpu` addresses.

It offers nothing the real bindings lack (tests/runtime/tensorrt/test_api_surface.py compares them), and attributes that
a class does not have cannot be set. Environment variables steer it, because the builder runs it in another process:
FAKE_TENSORRT_VERSION, FAKE_TENSORRT_FAIL (oom, killed, crash, silent, parse) and FAKE_TENSORRT_STEP_SECONDS.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import sys
import time

import numpy as np
import onnxruntime
from host_gpu import GPU, GpuFault

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "10.16.1.11")

_MAGIC = b"FAKE-PLAN "
_loaded_plugins: list[str] = []


class _Counted:
    """Counts as a live TensorRT object until it is destroyed."""

    __slots__ = ("__weakref__",)

    def __init__(self):
        GPU.objects += 1

    def __del__(self):
        GPU.objects -= 1


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8


_TYPES = {
    "tensor(float)": (DataType.FLOAT, np.float32),
    "tensor(float16)": (DataType.HALF, np.float16),
    "tensor(int8)": (DataType.INT8, np.int8),
    "tensor(int32)": (DataType.INT32, np.int32),
    "tensor(bool)": (DataType.BOOL, np.bool_),
    "tensor(uint8)": (DataType.UINT8, np.uint8),
    "tensor(int64)": (DataType.INT64, np.int64),
    "tensor(bfloat16)": (DataType.BF16, np.uint16),
}


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class BuilderFlag(enum.Enum):
    TF32 = 7
    VERSION_COMPATIBLE = 13


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class HardwareCompatibilityLevel(enum.Enum):
    NONE = 0
    AMPERE_PLUS = 1


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self):
        self._ready = True

    def _say(self, severity, msg):
        if not getattr(self, "_ready", False):
            raise TypeError("ILogger.__init__() was not called")
        self.log(severity, msg)

    def log(self, severity, msg):
        raise NotImplementedError("pure virtual")


class IProgressMonitor:
    def __init__(self):
        pass

    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError("pure virtual")

    def step_complete(self, phase_name, step):
        raise NotImplementedError("pure virtual")

    def phase_finish(self, phase_name):
        raise NotImplementedError("pure virtual")


class IHostMemory:
    __slots__ = ("_content",)

    def __init__(self, content):
        self._content = content

    @property
    def nbytes(self):
        return len(self._content)

    def __bytes__(self):  # the buffer protocol, as far as Python 3.11 can write it
        return self._content


class ITimingCache:
    __slots__ = ("_content",)

    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content + b"timed;")


class ParserError:
    __slots__ = ("_text",)

    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def node_name(self):
        return "/det/Det"

    def node_operator(self):
        return "Det"


class INetworkDefinition(_Counted):
    __slots__ = ("_onnx",)


class OnnxParser(_Counted):
    __slots__ = ("_errors", "_logger", "_network")

    def __init__(self, network, logger):
        super().__init__()
        self._network, self._logger, self._errors = network, logger, []

    def parse_from_file(self, model):
        if os.environ.get("FAKE_TENSORRT_FAIL") == "parse":
            self._errors.append(ParserError("Assertion failed: no importer registered\n for op Det"))
            return False
        try:
            _session(model)
        except Exception as error:
            self._errors.append(ParserError(str(error)))
            return False
        with open(model, "rb") as file:
            self._network._onnx = file.read()
        return True

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class IBuilderConfig(_Counted):
    __slots__ = (
        "_flags",
        "_limits",
        "_timing",
        "builder_optimization_level",
        "hardware_compatibility_level",
        "plugins_to_serialize",
        "progress_monitor",
    )

    def __init__(self):
        super().__init__()
        self._flags, self._limits, self._timing = {BuilderFlag.TF32}, {}, None
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.plugins_to_serialize, self.progress_monitor = [], None

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self._flags.discard(BuilderFlag(flag))

    def set_memory_pool_limit(self, pool, pool_size):
        self._limits[MemoryPoolType(pool)] = int(pool_size)

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        self._timing = cache
        return True

    def get_timing_cache(self):
        return self._timing


class Builder(_Counted):
    __slots__ = ("_logger",)

    def __init__(self, logger):
        super().__init__()
        self._logger = logger

    def create_network(self, flags=0):
        if flags != 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            raise AssertionError("the network is not strongly typed")
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def build_serialized_network(self, network, config):
        problem = os.environ.get("FAKE_TENSORRT_FAIL")
        if problem == "oom":
            self._logger._say(
                ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 9663676416 bytes.)"
            )
        if problem in ("oom", "silent"):
            return None
        if problem == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if problem == "crash":
            print("something in a plugin", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        print("a library that prints on stdout")
        if not self._steps(config.progress_monitor):
            self._logger._say(ILogger.Severity.ERROR, "Error Code 9: cancelled by the progress monitor")
            return None
        self._logger._say(ILogger.Severity.WARNING, "a warning of the builder")
        facts = {
            "version": __version__,
            "flags": sorted(flag.name for flag in config._flags),
            "level": config.builder_optimization_level,
            "hardware": config.hardware_compatibility_level.name,
            "workspace": config._limits.get(MemoryPoolType.WORKSPACE),
            "timings": config._timing._content.decode() if config._timing else None,
            "plugins": _loaded_plugins,
            "serialized_plugins": config.plugins_to_serialize,
            "size": len(network._onnx),
        }
        return IHostMemory(_MAGIC + json.dumps(facts).encode() + b"\n" + network._onnx)

    def _steps(self, monitor):
        pause = float(os.environ.get("FAKE_TENSORRT_STEP_SECONDS", "0"))
        monitor.phase_start("Building engine", None, 4)
        for step in range(4):
            time.sleep(pause)
            if not monitor.step_complete("Building engine", step):
                return False
        monitor.phase_finish("Building engine")
        return True


class IExecutionContext(_Counted):
    __slots__ = ("_addresses", "_engine")

    def __init__(self, engine):
        super().__init__()
        self._engine, self._addresses = engine, {}

    def set_tensor_address(self, name, memory):
        if name not in self._engine._tensors:
            return False
        self._addresses[name] = int(memory)
        return True

    def execute_async_v3(self, stream_handle):
        engine = self._engine
        if os.environ.get("FAKE_TENSORRT_FAIL") == "run":
            engine._logger._say(ILogger.Severity.ERROR, "IExecutionContext::enqueueV3: Error Code 1: Cask")
            return False
        missing = set(engine._tensors) - set(self._addresses)
        if missing:
            engine._logger._say(ILogger.Severity.ERROR, f"Address is not set for tensor {sorted(missing)[0]}")
            return False
        views, blocks = {}, []
        for name, (_, dtype, shape, _) in engine._tensors.items():
            nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            block, address = GPU.block(self._addresses[name], nbytes, "device")
            if block.size != nbytes:
                raise GPU.fault("size", f"tensor {name} has {block.size} bytes instead of {nbytes}")
            views[name] = _view(address, nbytes, dtype, shape)
            blocks.append(block)

        def work():
            feed = {name: views[name].copy() for name in engine._names(TensorIOMode.INPUT)}
            for name, value in zip(engine._names(TensorIOMode.OUTPUT), engine._session.run(None, feed), strict=True):
                views[name][...] = value

        GPU.calls.append(("execute", int(stream_handle)))
        try:
            GPU.enqueue(int(stream_handle), work, blocks)
        except GpuFault as fault:
            engine._logger._say(ILogger.Severity.ERROR, f"Error Code 1: Cuda Runtime ({fault.code}: {fault})")
            return False
        return True


def _view(address, nbytes, dtype, shape):
    import ctypes

    return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), dtype).reshape(shape)


class ICudaEngine(_Counted):
    __slots__ = ("_logger", "_session", "_tensors", "device_memory_size_v2")

    def __init__(self, onnx, logger):
        super().__init__()
        self._logger, self._session = logger, _session(onnx)
        self._tensors = {}
        for mode, nodes in (
            (TensorIOMode.INPUT, self._session.get_inputs()),
            (TensorIOMode.OUTPUT, self._session.get_outputs()),
        ):
            for node in nodes:
                shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
                self._tensors[node.name] = (*_TYPES[node.type], shape, mode)
        self.device_memory_size_v2 = 1 << 20

    def _names(self, mode):
        return [name for name, tensor in self._tensors.items() if tensor[3] is mode]

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_shape(self, name):
        return self._tensors[name][2]

    def get_tensor_dtype(self, name):
        return self._tensors[name][0]

    def get_tensor_mode(self, name):
        return self._tensors[name][3]

    def get_tensor_location(self, name):
        return TensorLocation.DEVICE

    def create_execution_context(self):
        return IExecutionContext(self)


class Runtime(_Counted):
    __slots__ = ("_logger", "engine_host_code_allowed")

    def __init__(self, logger):
        super().__init__()
        self._logger, self.engine_host_code_allowed = logger, False

    def deserialize_cuda_engine(self, serialized_engine):
        problem = self._problem(bytes(serialized_engine))
        if problem:
            self._logger._say(ILogger.Severity.ERROR, problem)
            return None
        return ICudaEngine(bytes(serialized_engine).split(b"\n", 1)[1], self._logger)

    def _problem(self, plan):
        if not plan.startswith(_MAGIC) or b"\n" not in plan:
            return "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)"
        head, onnx = plan[len(_MAGIC) :].split(b"\n", 1)
        facts = json.loads(head)
        if len(onnx) != facts["size"]:
            return "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (unexpected end of the plan)"
        if "VERSION_COMPATIBLE" in facts["flags"] and not self.engine_host_code_allowed:
            return "the engine contains host executable code, which is not allowed"
        if "VERSION_COMPATIBLE" not in facts["flags"] and facts["version"] != __version__:
            return (
                "The engine plan file is not compatible with this version of TensorRT, expecting library version "
                f"{__version__} got {facts['version']}, please rebuild."
            )
        return ""


class IPluginRegistry:
    __slots__ = ()

    def load_library(self, plugin_path):
        if not os.path.isfile(plugin_path):
            raise RuntimeError(f"cannot open {plugin_path}")
        with open(plugin_path, "rb") as file:
            if file.read(4) == b"BAD!":
                return None
        _loaded_plugins.append(plugin_path)
        return object()


def get_plugin_registry():
    return IPluginRegistry()


def _session(onnx):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
