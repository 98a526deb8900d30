"""What every source of frames has in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        index: Number of the frame in its source, from 0. Live sources count the frames that were dropped too.
        time_s: Seconds since the start of the source: media time of files, capture time of live sources.
        image: BGR uint8 [H, W, 3].
        name: What to call the frame in a result: the file, device or address.
        captured: `time.perf_counter()` when the picture arrived, to measure its age.
    """

    index: int
    time_s: float
    image: np.ndarray
    name: str
    captured: float = field(default_factory=time.perf_counter, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


class Source(ABC):
    """An iterable of frames that is also a context manager; `open_source` makes one.

    Attributes:
        name: What the source was opened from.
        live: True when frames that nobody took in time are dropped.
        still: True when the frames are independent pictures, so that nothing may be smoothed across them.
        fps: Nominal frames per second, None when unknown or meaningless.
        size: Width and height of the frames in pixels, None when unknown or varying.
        total: Number of frames that will come (an estimate for videos), None when unknown.
        files: Local files that the frames are read from; none for devices, addresses and pipes.
        dropped: Frames that arrived and were not delivered.
        reconnects: How often a broken stream came back.
    """

    name: str
    live: bool = False
    still: bool = False
    fps: float | None = None
    size: tuple[int, int] | None = None
    total: int | None = None
    files: Sequence[Path] = ()
    dropped: int = 0
    reconnects: int = 0

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yield the frames; raises SourceError when the source fails."""

    def close(self) -> None:
        """Let go of files, devices and threads; may be called twice and from another thread."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Limited(Source):
    """The first `count` frames of another source."""

    def __init__(self, inner: Source, count: int) -> None:
        self._inner, self._count = inner, count
        self.name, self.live, self.still = inner.name, inner.live, inner.still
        self.fps, self.size, self.files = inner.fps, inner.size, inner.files
        self.total = count if inner.total is None else min(count, inner.total)

    @property
    def dropped(self) -> int:  # type: ignore[override]
        """Frames the inner source dropped."""
        return self._inner.dropped

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        """How often the inner source came back."""
        return self._inner.reconnects

    def frames(self) -> Iterator[Frame]:
        """Yield at most `count` frames."""
        left = self._count
        if left > 0:
            for frame in self._inner:
                yield frame
                left -= 1
                if left == 0:
                    return

    def close(self) -> None:
        """Close the inner source."""
        self._inner.close()
