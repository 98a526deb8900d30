"""Raw frames from standard input, as `ffmpeg -f rawvideo -pix_fmt bgr24 -` writes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from humar_edge.errors import SourceError
from humar_edge.runtime.sources.base import Frame, Source

_log = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


class PipeSource(Source):
    """Frames of one size without headers.

    Args:
        size: Width and height in pixels.
        fps: Frames per second, for the times in the results.
        stream: Where to read; None: standard input.

    Raises:
        SourceError: The size is not positive, or there is no standard input.
    """

    name = "-"

    def __init__(self, size: tuple[int, int], *, fps: float = 25.0, stream: BinaryIO | None = None) -> None:
        if min(size) < 1:
            raise SourceError(f"the pipe's frame size must be positive, got {size[0]}x{size[1]}")
        self.size, self.fps = size, fps
        self._stream = stream if stream is not None else _standard_input()
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the pipe ends; an incomplete last frame is left out with a warning."""
        assert self.size is not None and self.fps is not None
        width, height = self.size
        wanted, index = width * height * 3, 0
        while not self._closed:
            data = self._read(wanted)
            if len(data) < wanted:
                if index == 0:
                    raise SourceError(
                        f"the pipe ended after {len(data)} bytes, before one frame of {width}x{height} bgr24 "
                        f"({wanted} bytes): does --pipe-size match what is sent?"
                    )
                if data:
                    _log.warning(f"the pipe ended in the middle of frame {index}; left out")
                return
            image = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)
            yield Frame(index, index / self.fps, image, self.name)
            index += 1

    def _read(self, wanted: int) -> bytearray:
        data = bytearray()
        while len(data) < wanted and (chunk := self._stream.read(min(wanted - len(data), _READ_BYTES))):
            data += chunk
        return data

    def close(self) -> None:
        """Stop after the current frame; standard input stays open."""
        self._closed = True


def _standard_input() -> BinaryIO:
    # Not sys.stdin.buffer: Python aborts when it ends while a thread waits inside that buffer.
    try:
        return open(0, "rb", buffering=0, closefd=False)
    except OSError as error:
        raise SourceError(f"cannot read standard input: {error.strerror}") from error
