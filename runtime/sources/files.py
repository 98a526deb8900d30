"""Video files and pictures: every frame is delivered, in order."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from humar_edge.errors import SourceError
from humar_edge.runtime.preprocess import read_image
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.sources.capture import Capture

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .png .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif".split())
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mjpg .mjpeg .gif".split()
)

_DAMAGED_IN_A_ROW = 25


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts `frame10` after `frame9`."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(p)) if p.isdigit() else (1, p.casefold()) for p in parts if p]


class ImageSource(Source):
    """Picture files, one frame each.

    Args:
        name: What the source was opened from.
        paths: The files, in order; at least one.
        loop: Start again after the last one.
    """

    still = True

    def __init__(self, name: str, paths: Sequence[Path], *, loop: bool = False) -> None:
        self.name, self.files, self._loop = name, list(paths), loop
        self.total = None if loop else len(self.files)
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures; one that cannot be read among others is skipped with a warning."""
        index = 0
        while not self._closed:
            readable = 0
            for path in self.files:
                if self._closed:
                    return
                try:
                    image = read_image(path)
                except SourceError as error:
                    if len(self.files) == 1:
                        raise
                    _log.warning(f"skipped: {error}")
                    continue
                yield Frame(index, float(index), image, str(path))
                index += 1
                readable += 1
            if readable == 0:
                raise SourceError(f"{self.name}: none of the {len(self.files)} pictures can be read")
            if not self._loop:
                return

    def close(self) -> None:
        """Stop after the current picture."""
        self._closed = True


class VideoSource(Source):
    """A video file, or a finite recording at a network address.

    Args:
        target: Path or address.
        loop: Start again at the end; frame numbers and times go on counting.
        network: `target` is an address.
        name: What to call it in messages and results, without an address's password; None: `target`.

    Attributes:
        reopen: Opens the video once more, from its start.

    Raises:
        SourceError: The file cannot be opened.
    """

    def __init__(self, target: str, *, loop: bool = False, network: bool = False, name: str | None = None) -> None:
        self.name, self._loop = name or target, loop
        self.reopen = partial(Capture, target, network=network, name=self.name)
        self._capture = self.reopen()
        media = self._capture.media
        self.fps, self.size = media.fps, media.size
        self.total = None if loop else media.total
        self.files = () if network else (Path(target),)
        self._expected = media.total
        self._closed = False

    def _next(self, count: int) -> np.ndarray | None:
        # A damaged frame reads like the end of the file, so look a little further while more frames are announced.
        tries = min(_DAMAGED_IN_A_ROW, max((self._expected or 0) - count, 0))
        for _ in range(1 + tries):
            image = self._capture.read()
            if image is not None or self._closed:
                return image
        return None

    def frames(self) -> Iterator[Frame]:
        """Yield every frame; a file that ends early warns, one without any frame is an error."""
        index, start = 0, 0.0
        step = 1 / (self.fps or 25.0)
        while True:
            count, last = 0, 0.0
            while not self._closed and (image := self._next(count)) is not None:
                # Some containers report 0 or repeat a time; time must go on for the filters behind us.
                position = self._capture.position_s
                last = position if count == 0 or position > last else last + step
                yield Frame(index, start + last, image, self.name)
                count, index = count + 1, index + 1
            if self._closed:
                return
            if count == 0:
                raise SourceError(f"{self.name} has no frame that can be read: damaged, or not a video")
            if not self._loop:
                # A few frames less than announced are the rule with edited files, not damage.
                if self._expected and count < 0.95 * self._expected - 2:
                    _log.warning(f"{self.name} gave {count} of {self._expected} frames: damaged or cut short")
                return
            start += last + step
            self._capture.close()
            self._capture = self.reopen()

    def close(self) -> None:
        """Stop after the current frame; the file is closed with the object."""
        self._closed = True


def open_directory(path: Path, *, loop: bool = False) -> Source:
    """The pictures of a directory in natural order."""
    try:
        paths = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    except OSError as error:
        raise SourceError(f"cannot read directory {path}: {error.strerror}") from error
    if not paths:
        raise SourceError(f"no pictures in directory {path}")
    return ImageSource(str(path), sorted(paths, key=natural_key), loop=loop)


def open_glob(pattern: str, *, loop: bool = False) -> Source:
    """The pictures, or the one video, that a pattern matches."""
    paths = sorted((Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)), key=natural_key)
    pictures = [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES]
    if pictures:
        return ImageSource(pattern, pictures, loop=loop)
    if len(paths) == 1:
        return open_file(paths[0], loop=loop)
    if paths:
        raise SourceError(f"{pattern} matches {len(paths)} files but no pictures; give one video at a time")
    raise SourceError(f"nothing matches {pattern}")


def open_file(path: Path, *, loop: bool = False) -> Source:
    """One picture or video; files without a known suffix are tried as a picture, then as a video."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if empty:
        raise SourceError(f"{path} is empty")
    if suffix in IMAGE_SUFFIXES:
        return ImageSource(str(path), [path], loop=loop)
    if suffix not in VIDEO_SUFFIXES:
        try:
            read_image(path)
            return ImageSource(str(path), [path], loop=loop)
        except SourceError:
            pass
    return VideoSource(str(path), loop=loop)
