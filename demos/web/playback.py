"""Sources as a page wants them: files repeat at their own speed, pictures stay until something changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from humar_edge.errors import SourceError
from humar_edge.runtime.sources import Frame, LiveSource, Source, open_source
from humar_edge.runtime.sources.files import VideoSource
from humar_edge.runtime.sources.live import RealTime

SLIDE_S = 3.0
"""How long each of several pictures is shown, seconds."""


class Slideshow(Source):
    """Pictures one after the other, without end; a single one is delivered again only when `refresh` asks for it.

    Args:
        spec: A picture, folder of pictures or pattern, as for `open_source`.

    Raises:
        SourceError: There is no picture.
    """

    still = True

    def __init__(self, spec: str) -> None:
        first = open_source(spec)
        self._spec, self.name = spec, first.name
        self._pause = None if first.total == 1 else SLIDE_S
        self._wanted = threading.Event()
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures; numbers go on counting from round to round."""
        index = 0
        while not self._closed:
            for picture in open_source(self._spec):
                again = True
                while again:
                    yield replace(picture, index=index, time_s=float(index), captured=time.perf_counter())
                    index += 1
                    again = self._wanted.wait(self._pause)
                    self._wanted.clear()
                    if self._closed:
                        return

    def refresh(self) -> None:
        """Deliver the present picture once more, from any thread."""
        self._wanted.set()

    def close(self) -> None:
        """Stop."""
        self._closed = True
        self._wanted.set()


def open_playback(spec: str) -> Source:
    """Open anything `open_source` takes (but a raw pipe) for endless watching.

    Videos are repeated in real time and drop frames like a camera, so that a slow model shows no slow motion.

    Raises:
        SourceError: It does not exist or cannot be read; the message names it.
    """
    if spec == "-":
        raise SourceError("the page cannot show a raw pipe; give a camera number, file, folder or address")
    source = open_source(spec)
    if source.live:
        return source
    source.close()
    if source.still:
        return Slideshow(spec)
    # The rest are videos. Theirs is the path that was found and the address with its password, unlike spec and name.
    assert isinstance(source, VideoSource)
    reopen = source.reopen
    return LiveSource(source.name, lambda: RealTime(reopen, loop=True), finite=True)
