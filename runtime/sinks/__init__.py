"""Where results go; `open_sink` takes every kind by one word, `Sinks` writes to several at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.draw import draw_people
from humar_edge.runtime.sinks.base import NullSink, Sink, StopRequested
from humar_edge.runtime.sinks.pictures import CODECS, DirectorySink, ImageSink, VideoSink
from humar_edge.runtime.sinks.records import CocoSink, CsvSink, JsonlSink
from humar_edge.runtime.sinks.stream import MjpegSink
from humar_edge.runtime.sinks.window import WindowSink
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.sources.files import IMAGE_SUFFIXES

__all__ = [
    "CocoSink",
    "CsvSink",
    "JsonlSink",
    "MjpegSink",
    "Sink",
    "Sinks",
    "StopRequested",
    "VideoSink",
    "WindowSink",
    "annotate",
    "open_sink",
]


def _image(spec: str, source: Source) -> Sink:
    if source.total != 1:
        many = f"{source.total} frames" if source.total else "many frames"
        raise SinkError(f"{spec} holds one picture, but the source has {many}; give a directory or a .mp4")
    return ImageSink(Path(spec), source)


def _pattern(suffixes: Sequence[str] | frozenset[str]) -> str:
    return rf"(?is).*({'|'.join(re.escape(suffix) for suffix in sorted(suffixes))})"


OPENERS: tuple[tuple[str, Callable[[str, Source], Sink]], ...] = (
    (r"none|null", lambda spec, source: NullSink()),
    (r"window", lambda spec, source: WindowSink(wait=source.still)),
    (r"mjpeg:.*", lambda spec, source: MjpegSink(spec)),
    (r"(?s).*[/\\]", lambda spec, source: DirectorySink(Path(spec), source)),
    (_pattern(tuple(CODECS)), lambda spec, source: VideoSink(Path(spec), source)),
    (_pattern(IMAGE_SUFFIXES), _image),
    (r"(?is).*\.jsonl", lambda spec, source: JsonlSink(spec, source)),
    (r"(?is).*\.csv", lambda spec, source: CsvSink(spec, source)),
    (r"(?is).*\.json", lambda spec, source: CocoSink(spec, source)),
    (r"(?s)(.*[/\\])?[^./\\]+", lambda spec, source: DirectorySink(Path(spec), source)),
)
"""Pattern of the whole word -> opener; the first match wins. A name without a suffix is a directory."""


def open_sink(spec: str | os.PathLike[str], source: Source) -> Sink:
    """Open an output by its name.

    Args:
        spec: `window`, `none`, `mjpeg://HOST:PORT`, a video (.mp4, .webm, .avi ...), a picture (.jpg, .png ...),
            .jsonl, .csv, .json (COCO results), or a directory for pictures.
        source: Where the frames come from: its rate, length and kind decide how they are written.

    Raises:
        SinkError: The kind is unknown, the place cannot be written, or it is a file that the source reads.
    """
    word = os.fspath(spec)
    if not word:
        raise SinkError("the output is empty; give a file or directory")
    if os.path.isdir(word):
        return DirectorySink(Path(word), source)
    for pattern, opener in OPENERS:
        if re.fullmatch(pattern, word):
            return opener(word, source)
    known = ", ".join([*CODECS, ".jpg", ".png", ".jsonl", ".csv", ".json"])
    raise SinkError(f"unknown kind of output {word}; known: {known}, a directory, mjpeg://HOST:PORT")


def annotate(image: np.ndarray, persons: Sequence[Person | None]) -> np.ndarray:
    """A copy of the frame with everybody drawn on it.

    Args:
        image: BGR uint8 [H, W, 3].
        persons: Results for this frame, one per prompt; None for those who are not to be drawn.
    """
    return draw_people(image, persons)


class Sinks:
    """Several outputs used as one. When one fails, all are finished and the error goes on.

    Args:
        sinks: The outputs, in the order they are written.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def write(self, frame: Frame, persons: Sequence[Person]) -> None:
        """Write a frame to all of them; it is drawn at most once, and only if one of them needs it."""
        drawn: list[np.ndarray] = []

        def annotated() -> np.ndarray:
            if not drawn:
                drawn.append(annotate(frame.image, persons))
            return drawn[0]

        for sink in self._sinks:
            sink.write(frame, persons, annotated)

    def reports(self) -> list[str]:
        """What was written, one line each."""
        return [line for sink in self._sinks if (line := sink.report())]

    def close(self) -> None:
        """Finish all of them; the first error is raised after the last one was closed."""
        errors: list[SinkError] = []
        for sink in self._sinks:
            try:
                sink.close()
            except SinkError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self) -> Sinks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except SinkError:
            # The first cause is the one to tell.
            if error is None:
                raise
