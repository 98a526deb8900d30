"""TensorRT: builds the engine of an ONNX file on first use, keeps it, and runs it on an NVIDIA GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from humar_edge.errors import BackendError
from humar_edge.runtime.device import DeviceProvider, open_device
from humar_edge.runtime.runners.base import TensorSpec, checked
from humar_edge.runtime.tensorrt import load_tensorrt
from humar_edge.runtime.tensorrt.builder import EngineBuilder, EngineFile
from humar_edge.runtime.tensorrt.cache import EngineCache, Entry
from humar_edge.runtime.tensorrt.options import BuildOptions
from humar_edge.runtime.tensorrt.plugin import find_plugin, load_plugin
from humar_edge.runtime.tensorrt.progress import Watcher

if TYPE_CHECKING:
    from typing_extensions import Self

    from humar_edge.runtime.tensorrt.session import EngineMemory, EngineSession

ENGINE_SUFFIXES = {".engine", ".plan"}


class TensorRTRunner:
    """See `humar_edge.runtime.runners.base.Runner`.

    One frame at a time: the runner owns one stream and one set of buffers. A call while another thread is inside raises
    `BackendError`; threads may take turns. Open one runner per thread to run side by side.

    Args:
        onnx_path: An ONNX file, or an engine file (`.engine`, `.plan`) that fits this machine.
        threads: Not used; the protocol has it.
        options: How the engine is built when it is not in the cache.
        device: The GPU to use; None opens the first, with `HUMAR_EDGE_CUDA` naming the provider. A device that is
            passed in stays open when the runner closes.
        cache: Where engines are kept; None means the usual place.
        watcher: Who is told about a build; None means stderr.
        cuda_graph: Replay frames from a CUDA graph when possible; `graph_problem` says why it is not.
        timing: Measure every frame; `timings` then holds h2d_ms, compute_ms, d2h_ms, stage_ms, enqueue_ms and total_ms
            of the last one.

    Raises:
        BackendError: TensorRT, its GPU or a plugin is missing, or the engine cannot be built or loaded.
    """

    name = "tensorrt"

    def __init__(
        self,
        onnx_path: Path,
        *,
        threads: int | None = None,
        options: BuildOptions | None = None,
        device: DeviceProvider | None = None,
        cache: EngineCache | None = None,
        watcher: Watcher | None = None,
        cuda_graph: bool = True,
        timing: bool = False,
    ) -> None:
        self._busy = threading.Lock()
        self._session: EngineSession | None = None
        self._gpu: DeviceProvider | None = None
        self._owns_gpu = device is None
        load_tensorrt()
        self._gpu = device or open_device()
        self._cuda_graph, self._timing = cuda_graph, timing
        try:
            path = Path(onnx_path)
            with self._gpu.active():
                info = self._gpu.info()
            self.device = f"{info.name} (CUDA {info.runtime_cuda}, {self._gpu.name})"
            if path.suffix in ENGINE_SUFFIXES:
                self._open_engine(_read_engine(path))
            else:
                self._open_cached(EngineBuilder(path, self._gpu, options, cache, watcher))
            assert self._session is not None
            self.input_specs: dict[str, TensorSpec] = self._session.input_specs
            self.output_specs: dict[str, TensorSpec] = self._session.output_specs
        except BaseException:
            with suppress(BackendError):  # the first error is the one to report
                self.close()
            raise

    def infer(
        self, inputs: Mapping[str, np.ndarray], out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            inputs: Arrays by name, of the shapes and types of `input_specs`.
            out: Arrays like `output_specs` to write into, for a caller that wants no allocation at all; None returns
                new arrays, which belong to the caller.

        Raises:
            BackendError: An input or `out` is missing, unknown, or of the wrong shape or type; the runner is closed or
                in use by another thread; CUDA or TensorRT fail.
        """
        with self._mine():
            session, gpu = self._session, self._gpu
            if session is None or gpu is None:
                raise BackendError("this TensorRT runner has been closed")
            arrays = checked(self.input_specs, inputs)
            if out is not None:
                _check_targets(self.output_specs, out)
            with gpu.active():
                return session.run(arrays, out)

    def memory(self) -> EngineMemory:
        """Bytes the engine takes, see `EngineMemory`."""
        return self._open_session().memory

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of the parts of the last frame; empty without `timing=True`."""
        return self._open_session().timings

    @property
    def uses_graph(self) -> bool:
        """Whether frames are replayed from a CUDA graph."""
        return self._open_session().uses_graph

    @property
    def graph_problem(self) -> str:
        """Why there is no CUDA graph; empty when there is one."""
        return self._open_session().graph_problem

    def close(self) -> None:
        """Free the engine and its memory, after the frame that another thread may be running; may be called twice."""
        with self._busy:
            session, self._session = self._session, None
            gpu, self._gpu = self._gpu, None
            try:
                if session is not None and gpu is not None:
                    with gpu.active():
                        session.close()
            finally:
                if gpu is not None and self._owns_gpu:
                    gpu.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_owns_gpu"):
            self.close()

    def _open_session(self) -> EngineSession:
        if self._session is None:
            raise BackendError("this TensorRT runner has been closed")
        return self._session

    @contextmanager
    def _mine(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise BackendError(
                f"this TensorRT runner is busy in another thread (asked by {threading.current_thread().name}); open "
                "one runner per thread, or let the threads take turns"
            )
        try:
            yield
        finally:
            self._busy.release()

    def _open_cached(self, builder: EngineBuilder) -> None:
        from humar_edge.runtime.tensorrt.session import EngineLoadError

        engine = builder.engine()
        try:
            self._open_engine(engine)
        except EngineLoadError as error:
            if engine.built:
                raise
            self._open_engine(builder.rebuild(str(error)))

    def _open_engine(self, engine: EngineFile) -> None:
        from humar_edge.runtime.tensorrt.session import EngineLoadError, EngineSession

        if engine.plugin is not None:
            load_plugin(engine.plugin)
        gpu = self._gpu
        assert gpu is not None
        options = engine.metadata.get("options") or {}
        host_code = bool(options.get("version_compatible"))
        with gpu.active():
            try:
                self._session = EngineSession(engine.data, gpu, self._cuda_graph, self._timing, host_code)
            except EngineLoadError as error:
                made_by = engine.metadata.get("tensorrt", "an unknown version")
                here = load_tensorrt().__version__
                raise EngineLoadError(f"built by TensorRT {made_by}, this is TensorRT {here}: {error}") from error


def _read_engine(path: Path) -> EngineFile:
    """An engine file that the user names; it is never rebuilt, there is nothing to rebuild it from."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackendError(f"cannot read the engine {path}: {error.strerror}") from error
    metadata = Entry(path).metadata() or {}
    plugin = find_plugin() if metadata.get("plugin_sha256") else None
    return EngineFile(path, data, metadata, plugin, built=False)


def _check_targets(specs: Mapping[str, TensorSpec], out: Mapping[str, np.ndarray]) -> None:
    for name, spec in specs.items():
        if name not in out:
            raise BackendError(f"no array for output '{name}' {spec}")
        if not spec.accepts(out[name]):
            given = TensorSpec(out[name].shape, out[name].dtype)
            raise BackendError(f"the array for output '{name}' must be {spec}, got {given}")
