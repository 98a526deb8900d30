"""All engines of a bundle, built before anybody waits for them: `humar-edge export --format engine`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from humar_edge.bundle import MANIFEST, Bundle
from humar_edge.errors import BackendError, ConfigError
from humar_edge.runtime.device import open_device
from humar_edge.runtime.tensorrt import why_not
from humar_edge.runtime.tensorrt.builder import EngineBuilder, EngineFile
from humar_edge.runtime.tensorrt.cache import EngineCache
from humar_edge.runtime.tensorrt.progress import Watcher


def require_builder(folder: Path | None) -> None:
    """Find out before anything expensive starts whether engines can be built and kept here.

    Args:
        folder: Where copies shall go, None for the cache alone.

    Raises:
        BackendError: TensorRT or a GPU is missing, or the cache is all there is and cannot be written.
        ConfigError: The folder is a bundle, which would not load any more with files that it does not list.
    """
    if reason := why_not():
        raise BackendError(f"engines are built where they run, with TensorRT and an NVIDIA GPU: {reason}")
    if folder is not None:
        if (folder / MANIFEST).is_file():
            raise ConfigError(f"{folder} is a bundle, which holds no engine files; choose another --output")
        return
    cache = EngineCache()
    try:
        cache.prepare()
    except OSError as error:
        raise BackendError(
            f"the engine cache {cache.directory} cannot be written ({error.strerror}); set HUMAR_EDGE_CACHE, or build "
            "files with --model BUNDLE --output FOLDER"
        ) from error


def build_engines(
    bundle: Bundle, folder: Path | None = None, watcher: Watcher | None = None
) -> Iterator[tuple[str, EngineFile]]:
    """Build every engine of a bundle for the first GPU, or take it from the cache, where the runner will find it.

    Args:
        bundle: The bundle.
        folder: Gets a copy of every engine, `<name>.engine` with `<name>.json` about it; None for the cache alone.
        watcher: Who is told about the builds; None means bars and messages on stderr.

    Yields:
        Name and engine, one after the other as they are done.

    Raises:
        BackendError: TensorRT or a GPU is missing, a build failed, or the folder is not writable.
    """
    optional = (bundle.positional_engine, *(bundle.split_engines or ()))
    paths = [bundle.text_engine, bundle.vision_engine, *(path for path in optional if path is not None)]
    with closing(open_device()) as device:
        for path in paths:
            builder = EngineBuilder(path, device, watcher=watcher)
            yield path.stem, builder.build_to(folder / f"{path.stem}.engine") if folder else builder.engine()
