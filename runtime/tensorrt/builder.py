"""ONNX to engine: from the cache when it is there, else built in a process of its own and kept."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from humar_edge import __version__
from humar_edge.errors import BackendError
from humar_edge.runtime.device import DeviceProvider
from humar_edge.runtime.tensorrt import load_tensorrt
from humar_edge.runtime.tensorrt.cache import EngineCache, Entry, Metadata, file_sha256, fingerprint_key
from humar_edge.runtime.tensorrt.lock import locked
from humar_edge.runtime.tensorrt.onnx_scan import scan_onnx
from humar_edge.runtime.tensorrt.options import BuildOptions
from humar_edge.runtime.tensorrt.plugin import plugin_for
from humar_edge.runtime.tensorrt.progress import RichWatcher, Watcher
from humar_edge.runtime.tensorrt.worker_client import run_worker


@dataclass(frozen=True)
class EngineFile:
    """A built engine.

    Attributes:
        path: The engine; None when the cache is not writable and the engine only exists in `data`.
        data: The engine's bytes.
        metadata: The sidecar's content.
        plugin: The plugin library the engine needs, None when it needs none.
        built: Whether it was built just now.
    """

    path: Path | None
    data: bytes
    metadata: Metadata
    plugin: Path | None
    built: bool


class EngineBuilder:
    """Builds and keeps the engine of one ONNX file for one GPU.

    Args:
        onnx_path: The ONNX file.
        device: The GPU.
        options: How to build.
        cache: Where engines are kept; None means the usual place.
        watcher: Who is told; None means bars and messages on stderr.

    Raises:
        BackendError: TensorRT is missing, the file is not ONNX, or it needs a plugin that is not there.
        ConfigError: The options are impossible on this GPU.
    """

    def __init__(
        self,
        onnx_path: Path,
        device: DeviceProvider,
        options: BuildOptions | None = None,
        cache: EngineCache | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        trt = load_tensorrt()
        self.onnx_path = Path(onnx_path)
        self.options = options or BuildOptions()
        self.cache = cache or EngineCache()
        self.watcher = watcher or RichWatcher()
        facts = scan_onnx(self.onnx_path)
        with device.active():
            info = device.info()
            self._workspace = self.options.workspace_bytes(info, device.memory()[0])
        self.options.check(info)
        self.plugin = plugin_for(facts, self.onnx_path)
        self.fingerprint: dict[str, Any] = {
            "onnx_sha256": _onnx_sha256(self.onnx_path),
            "tensorrt": trt.__version__,
            "cuda": info.runtime_cuda,
            "compute_capability": info.compute_capability,
            "gpu": info.name,
            "precision": facts.precision,
            "options": self.options.as_key(),
            "plugin_sha256": file_sha256(self.plugin) if self.plugin else None,
        }
        self.entry = self.cache.entry(self.onnx_path.stem, fingerprint_key(self.fingerprint))

    def engine(self) -> EngineFile:
        """The engine from the cache, else a new one. Two processes that want the same engine build it once.

        Raises:
            BackendError: The build failed, with the reason.
        """
        if found := self._cached():
            return found
        try:
            self.cache.prepare()
        except OSError as error:
            return self._build_aside(error)
        with locked(self.cache.lock_file(self.entry), self._say_waiting):
            if found := self._cached(self.watcher.message):
                return found
            return self._build_into_cache()

    def rebuild(self, reason: str) -> EngineFile:
        """Build although there is an engine, because it does not work; the old one is replaced.

        Args:
            reason: Why, for the message.
        """
        self.watcher.message(f"the cached engine {self.entry.engine.name} does not load: {reason}; building it again")
        try:
            self.cache.prepare()
        except OSError as error:
            return self._build_aside(error)
        with locked(self.cache.lock_file(self.entry), self._say_waiting):
            return self._build_into_cache()

    def build_to(self, target: Path) -> EngineFile:
        """The engine in a file of the caller's choice, with its sidecar beside it; the cache keeps it too.

        Raises:
            BackendError: The build failed or the place is not writable.
        """
        target = Path(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            workplace = Path(tempfile.mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
        except OSError as error:
            raise BackendError(f"cannot write to {target.parent}: {error.strerror}") from error
        copy = Entry(workplace / target.name)
        try:
            made = self.engine()
            copy.engine.write_bytes(made.data)
            copy.write_sidecar(made.metadata)
            copy.move_to(Entry(target))
        except OSError as error:
            raise BackendError(f"cannot write {target}: {error.strerror}") from error
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        return replace(made, path=target)

    def _say_waiting(self) -> None:
        self.watcher.message(f"another process is building {self.entry.engine.name}; waiting for it")

    def _cached(self, tell: Callable[[str], None] = lambda text: None) -> EngineFile | None:
        if not self.entry.exists():
            return None
        if damage := self.entry.damage():
            tell(f"the cached engine {self.entry.engine.name} is damaged: {damage}; building it again")
            return None
        data = self.entry.engine.read_bytes()
        return EngineFile(self.entry.engine, data, self.entry.metadata() or {}, self.plugin, built=False)

    def _build_into_cache(self) -> EngineFile:
        workplace = self.cache.workplace(self.entry)
        shutil.rmtree(workplace, ignore_errors=True)
        try:
            workplace.mkdir()
            return self._build_in(workplace, self.entry)
        except OSError as error:
            raise BackendError(f"cannot write the engine cache {self.cache.directory}: {error}") from error
        finally:
            shutil.rmtree(workplace, ignore_errors=True)

    def _build_aside(self, error: OSError) -> EngineFile:
        self.watcher.message(
            f"the engine cache {self.cache.directory} is not writable ({error.strerror}): the engine is built for this "
            "run only; set HUMAR_EDGE_CACHE to a writable directory to keep it"
        )
        try:
            workplace = Path(tempfile.mkdtemp(prefix="humar-edge-engine-"))
        except OSError as no_room:
            raise BackendError(f"there is no writable directory to build an engine in: {no_room}") from no_room
        try:
            made = self._build_in(workplace, None)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        return made

    def _build_in(self, workplace: Path, target: Entry | None) -> EngineFile:
        made = Entry(workplace / "new.engine")
        fingerprint = self.fingerprint
        self.watcher.message(
            f"building the {fingerprint['precision']} TensorRT {fingerprint['tensorrt']} engine of "
            f"{self.onnx_path.name} for {fingerprint['gpu']}; this takes minutes once, later starts use the cache"
        )
        timing_new = workplace / "timing.bin"
        showing = self.watcher.showing() if isinstance(self.watcher, RichWatcher) else nullcontext()
        with showing:
            done = run_worker(self._request(made.engine, timing_new), self.watcher.event)
        metadata = made.write_sidecar(
            {
                **fingerprint,
                "onnx": self.onnx_path.name,
                "humar_edge": __version__,
                "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "build_seconds": done["seconds"],
                "build_peak_rss": done["peak_rss"],
            }
        )
        data = made.engine.read_bytes()
        if target is not None:
            made.move_to(target)
            self._keep_timings(timing_new)
        self.watcher.message(f"built in {done['seconds']:.0f} s, {done['engine_bytes'] / 1e6:.1f} MB")
        return EngineFile(target.engine if target else None, data, metadata, self.plugin, built=True)

    def _request(self, engine: Path, timing_out: Path) -> dict[str, Any]:
        timing = self._timing_file()
        return {
            "onnx": str(self.onnx_path.resolve()),
            "engine": str(engine),
            "options": asdict(self.options),
            "workspace_bytes": self._workspace,
            "plugin": str(self.plugin) if self.plugin else None,
            "timing_in": str(timing) if timing.is_file() else None,
            "timing_out": str(timing_out),
        }

    def _timing_file(self) -> Path:
        return self.cache.timing_file(self.fingerprint["tensorrt"], self.fingerprint["compute_capability"])

    def _keep_timings(self, made: Path) -> None:
        if made.is_file() and self._timing_file().parent.is_dir():
            os.replace(made, self._timing_file())


def _onnx_sha256(path: Path) -> str:
    """SHA-256 of the file, and of its external weights when it has any."""
    external = path.with_name(f"{path.name}.data")
    return file_sha256(path) + (f"+{file_sha256(external)}" if external.is_file() else "")
