"""Built engines on disk: `<name>-<key>.engine` as TensorRT wrote it, and `<name>-<key>.json` about it.

Both are written in a directory of their own and renamed, the JSON last: an engine without its JSON does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDECAR_VERSION = 1
KEY_LENGTH = 20

Metadata = dict[str, Any]


def cache_root() -> Path:
    """HUMAR_EDGE_CACHE, or `humar-edge` in the platform's cache directory."""
    forced = os.environ.get("HUMAR_EDGE_CACHE")
    if forced:
        return Path(forced).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "humar-edge" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "humar-edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "humar-edge"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint_key(fingerprint: Metadata) -> str:
    """A short name for everything an engine depends on."""
    text = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class Entry:
    """The two files of one engine, there or not."""

    engine: Path

    @property
    def sidecar(self) -> Path:
        """The JSON about the engine."""
        return self.engine.with_suffix(".json")

    def metadata(self) -> Metadata | None:
        """The sidecar's content, None when it is missing or unreadable."""
        try:
            found = json.loads(self.sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def exists(self) -> bool:
        """Whether an engine was completely written here."""
        return self.engine.is_file() and self.sidecar.is_file()

    def damage(self) -> str:
        """What is wrong with an existing entry, empty when nothing is."""
        metadata = self.metadata()
        if metadata is None or metadata.get("sidecar_version") != SIDECAR_VERSION:
            return "its description cannot be read"
        size, expected = self.engine.stat().st_size, metadata.get("engine_bytes")
        if size != expected:
            return f"it has {size} bytes instead of {expected}"
        if file_sha256(self.engine) != metadata.get("engine_sha256"):
            return "its content has changed"
        return ""

    def write_sidecar(self, metadata: Metadata) -> Metadata:
        """Describe the engine file that is already here; returns the complete description."""
        complete = {
            "sidecar_version": SIDECAR_VERSION,
            **metadata,
            "engine_bytes": self.engine.stat().st_size,
            "engine_sha256": file_sha256(self.engine),
        }
        self.sidecar.write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")
        return complete

    def move_to(self, target: Entry) -> None:
        """Rename both files, the description last."""
        target.sidecar.unlink(missing_ok=True)
        os.replace(self.engine, target.engine)
        os.replace(self.sidecar, target.sidecar)

    def remove(self) -> None:
        """Delete both files, the description first."""
        self.sidecar.unlink(missing_ok=True)
        self.engine.unlink(missing_ok=True)


class EngineCache:
    """The directory of built engines.

    Args:
        root: The cache directory; None means `cache_root()`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.directory = (root or cache_root()) / "tensorrt"

    def entry(self, name: str, key: str) -> Entry:
        """Where the engine of this key is, or would be."""
        return Entry(self.directory / f"{name}-{key}.engine")

    def workplace(self, entry: Entry) -> Path:
        """Where the engine is built; the holder of the lock may remove what an interrupted build left."""
        return self.directory / f"{entry.engine.stem}.building"

    def lock_file(self, entry: Entry) -> Path:
        """The lock of one engine."""
        return self.directory / "locks" / f"{entry.engine.stem}.lock"

    def timing_file(self, tensorrt: str, compute_capability: str) -> Path:
        """Layer timings; they hold for one TensorRT version and one kind of GPU."""
        return self.directory / f"timing-{tensorrt}-sm{compute_capability.replace('.', '')}.bin"

    def prepare(self) -> None:
        """Create the directories.

        Raises:
            OSError: The place is not writable.
        """
        (self.directory / "locks").mkdir(parents=True, exist_ok=True)
        if not os.access(self.directory, os.W_OK):
            raise PermissionError(13, "Permission denied", str(self.directory))

    def entries(self) -> Iterator[Entry]:
        """All complete engines, by name."""
        for engine in sorted(self.directory.glob("*.engine")):
            if Entry(engine).exists():
                yield Entry(engine)

    def clear(self) -> tuple[int, int]:
        """Remove engines, timings and what interrupted builds left; returns the number of files and bytes freed.

        Raises:
            OSError: A file cannot be removed.
        """
        if not self.directory.is_dir():
            return 0, 0
        files = [path for path in self.directory.rglob("*") if path.is_file() and path.suffix != ".lock"]
        freed = sum(path.stat().st_size for path in files)
        for entry in list(self.entries()):
            entry.remove()
        for left in self.directory.iterdir():
            if left.is_dir() and left.name != "locks":
                shutil.rmtree(left)
            elif left.is_file():
                left.unlink()
        return len(files), freed
