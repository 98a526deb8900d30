"""What every output has in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sources.base import Frame

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


def prepare_parent(path: Path) -> None:
    """Create the directory of a file to be written and make sure that it can be written to.

    Raises:
        SinkError: The directory cannot be created or written, or the path is a directory.
    """
    if path.is_dir():
        raise SinkError(f"cannot write {path}: it is a directory")
    make_directory(path.parent, path)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SinkError(f"cannot write {path}: permission denied")


def make_directory(directory: Path, wanted: Path) -> None:
    """Create a directory for `wanted`; raises SinkError when it cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot write {wanted}: {error.strerror} ({directory})") from error


def partial_name(path: Path) -> Path:
    """The hidden name under which a file is written until it is complete; the suffix stays, it names the format."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def failed(path: Path | str, error: OSError, kept: str = "") -> SinkError:
    """The SinkError for a failed write."""
    return SinkError(f"cannot write {path}: {error.strerror or error}{f'; {kept}' if kept else ''}")
