"""Where frames come from; `open_source` takes every kind by one word."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from humar_edge.errors import SourceError
from humar_edge.runtime.sources.base import Frame, Limited, Source
from humar_edge.runtime.sources.capture import Capture
from humar_edge.runtime.sources.devices import open_camera, open_csi, open_device, open_network
from humar_edge.runtime.sources.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, open_directory, open_file, open_glob
from humar_edge.runtime.sources.live import Backoff, LiveSource, RealTime
from humar_edge.runtime.sources.pipe import PipeSource

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "Backoff", "Frame", "LiveSource", "Source", "open_source"]


@dataclass(frozen=True)
class Options:
    """Everything `open_source` was told besides the word itself."""

    loop: bool
    live: bool | None
    pipe_size: tuple[int, int] | None
    backoff: Backoff | None


def _pipe(spec: str, options: Options) -> Source:
    if options.pipe_size is None:
        raise SourceError("a raw frame pipe needs the frame size: --pipe-size WIDTHxHEIGHT (bgr24)")
    return PipeSource(options.pipe_size)


def _network(spec: str, options: Options) -> Source:
    return open_network(spec, loop=options.loop, live=options.live, backoff=options.backoff)


def _path(spec: str, options: Options) -> Source:
    # Unlike Path.expanduser, leaves a name alone that begins with ~ and is no user's.
    path = Path(os.path.expanduser(spec.removeprefix("file://")))
    if os.path.isdir(path):
        return open_directory(path, loop=options.loop)
    # Asked after the file itself: names with brackets are ordinary file names.
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if re.search(r"[*?\[]", spec):
            return open_glob(str(path), loop=options.loop)
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{reason.lower()}: {path}") from error
    if options.live:
        reopen = partial(Capture, str(path))
        source = LiveSource(str(path), lambda: RealTime(reopen, loop=options.loop), finite=True)
        source.files = (path,)
        return source
    return open_file(path, loop=options.loop)


OPENERS: tuple[tuple[str, Callable[[str, Options], Source]], ...] = (
    (r"-", _pipe),
    (r"\d+", lambda spec, options: open_camera(int(spec))),
    (r"v4l2://.+", lambda spec, options: open_device(spec.removeprefix("v4l2://"))),
    (r"/dev/(video|v4l).*", lambda spec, options: open_device(spec)),
    (r"csi://.*", lambda spec, options: open_csi(spec)),
    (r"(?i)(rtsps?|https?|udp|tcp)://.+", _network),
    (r"(?i)(?!file:)[a-z][a-z0-9+.-]+://.*", lambda spec, options: _unknown_scheme(spec)),
    (r"(?s).+", _path),
)
"""Pattern of the whole word -> opener; the first match wins."""


def _unknown_scheme(spec: str) -> Source:
    raise SourceError(f"unknown kind of address {spec.split('://')[0]}://; known: csi, v4l2, rtsp, http, https, file")


def open_source(
    spec: str | int | os.PathLike[str],
    *,
    loop: bool = False,
    max_frames: int | None = None,
    live: bool | None = None,
    pipe_size: tuple[int, int] | None = None,
    backoff: Backoff | None = None,
) -> Source:
    """Open anything that delivers pictures.

    Args:
        spec: Camera number, `/dev/videoN`, `v4l2://PATH`, `csi://N`, `rtsp://`, `http(s)://`, a video, a picture, a
            directory of pictures, a glob pattern, or `-` for raw bgr24 frames on standard input.
        loop: Start files again at their end.
        max_frames: Stop after this many delivered frames.
        live: True replays a video file in real time, dropping frames like a camera; for an address, whether it is a
            live stream (True) or a recording (False). None: guess.
        pipe_size: Width and height of the frames of a pipe.
        backoff: How network streams reconnect.

    Raises:
        SourceError: It does not exist or cannot be read; the message names it.

    Example:
        >>> with open_source("clip.mp4", max_frames=10) as source:  # doctest: +SKIP
        ...     for frame in source:
        ...         print(frame.index, frame.time_s, frame.image.shape)
    """
    word = str(spec) if isinstance(spec, int) else os.fspath(spec)
    if not word:
        raise SourceError("the source is empty; give a camera number, file, directory or address")
    if max_frames is not None and max_frames < 1:
        raise SourceError(f"max_frames must be at least 1, got {max_frames}")
    options = Options(loop=loop, live=live, pipe_size=pipe_size, backoff=backoff)
    opener = next(opener for pattern, opener in OPENERS if re.fullmatch(pattern, word))
    source = opener(word, options)
    return source if max_frames is None else Limited(source, max_frames)
