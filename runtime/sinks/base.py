"""What every output has in common."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sources.base import Frame, Source

Annotated = Callable[[], np.ndarray]
"""Gives the annotated frame, BGR uint8 [H, W, 3]; drawn on the first call and shared by all sinks of a frame."""


class StopRequested(Exception):
    """The user asked to stop, for example with a key in the window."""


class Sink(ABC):
    """An output: a context manager that takes one frame and its people at a time.

    Closing finishes the file with what was written so far, also after an error elsewhere.

    Attributes:
        target: Where the output goes, for people to read.
        written: Frames written.
    """

    target: str
    written: int = 0

    @abstractmethod
    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Take a frame; raises SinkError when it cannot be written and StopRequested when the user wants to end."""

    def close(self) -> None:
        """Finish the output; may be called twice. Raises SinkError when it cannot be finished."""

    def report(self) -> str | None:
        """One line about what was written; None when there is nothing to say."""
        return f"{self.target}: {self.written} frames" if self.written else None

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NullSink(Sink):
    """Throws everything away, for benchmarks."""

    target = "none"

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Count the frame."""
        self.written += 1

    def report(self) -> str | None:
        """Nothing to say."""
        return None


def spare_source(targets: Iterable[Path], source: Source) -> None:
    """Refuse outputs that would replace what the frames are read from.

    Raises:
        SinkError: One of the targets is a file that the source reads, under whatever name.
    """
    files = {_identity(path) for path in source.files} - {None}
    for target in targets:
        if _identity(target) in files:
            raise SinkError(f"{target} is a file of the source itself; give another output")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file, the same for all its names; None when it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def prepare_file(path: Path, source: Source | None) -> None:
    """Create the directory of a file to be written and make sure that it can be written and is none of the source's.

    Raises:
        SinkError: The directory cannot be created or written, or the path is a directory, a file that the source
            reads, or no possible name.
    """
    if os.path.isdir(path):
        raise SinkError(f"cannot write {path}: it is a directory")
    if source is not None:
        spare_source([path], source)
    make_directory(path.parent, path)
    place = path
    try:
        path.stat()
    except FileNotFoundError:
        place = path.parent
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise failed(path, error) from error
    if not os.access(place, os.W_OK):
        raise SinkError(f"cannot write {path}: permission denied")


def make_directory(directory: Path, wanted: Path) -> None:
    """Create a directory for `wanted`; raises SinkError when it cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot write {wanted}: {error.strerror} ({directory})") from error


def partial_name(path: Path) -> Path:
    """The hidden name under which a file is written until it is complete; the suffix stays, it names the format.

    It does not hold the file's own name, which may be as long as the system allows.
    """
    return path.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.part{path.suffix}")


def discard(part: Path) -> None:
    """Remove an unfinished file as far as that is possible; the error before is the one to tell."""
    with suppress(OSError):
        part.unlink()


def failed(path: Path | str, error: OSError, kept: str = "") -> SinkError:
    """The SinkError for a failed write."""
    return SinkError(f"cannot write {path}: {error.strerror or error}{f'; {kept}' if kept else ''}")
