"""Annotated pictures and videos as files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from humar_edge.errors import SinkError, SourceError
from humar_edge.results import Person
from humar_edge.runtime.sinks.base import (
    Annotated,
    Sink,
    discard,
    failed,
    make_directory,
    partial_name,
    prepare_file,
    spare_source,
)
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.sources.capture import Capture, cv2, np, quietly


@dataclass(frozen=True)
class Codec:
    """A video codec: its FourCC, its name and whether browsers play it in this container."""

    fourcc: str
    name: str
    browsers: bool


_H264 = Codec("avc1", "H.264", True)
_MPEG4 = Codec("mp4v", "MPEG-4 part 2", False)
_VP9 = Codec("VP90", "VP9", True)

CODECS: dict[str, tuple[Codec, ...]] = {
    ".mp4": (_H264, Codec("vp09", "VP9", True), _MPEG4),
    ".m4v": (_H264, _MPEG4),
    ".mov": (_H264, _MPEG4),
    ".webm": (_VP9, Codec("VP80", "VP8", True)),
    ".mkv": (Codec("H264", "H.264", False), Codec("VP80", "VP8", False), _MPEG4),
    ".avi": (Codec("MJPG", "Motion JPEG", False),),
}
"""Container -> codecs in order of preference; the first that this OpenCV can write is used."""

DEFAULT_FPS = 25.0

# Space a video needs at its end for the index, without which players refuse it.
_RESERVE_BYTES = 16 * 1024 * 1024
_CHECK_EVERY = 10

# A live stream that was away for minutes shall not become minutes of the same picture.
_LONGEST_GAP_S = 2.0


class ImageSink(Sink):
    """One annotated picture.

    Args:
        path: The file; its suffix says the format.
        source: Where the frames come from; its own files are refused.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.target, self._path = str(path), path
        prepare_file(path, source)

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Write the picture; a second frame is an error, because it would replace the first."""
        if self.written:
            raise SinkError(f"{self.target} holds one picture, but there are more; give a directory or a .mp4")
        _write_image(self._path, annotated())
        self.written += 1

    def report(self) -> str | None:
        """Where the picture is."""
        return self.target if self.written else None


class DirectorySink(Sink):
    """A directory of annotated JPEG pictures: named like their sources, or numbered when the source is a video.

    Args:
        path: The directory.
        source: Tells whether the frames are pictures; its own files are never replaced.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.target, self._path, self._still = str(path), path, source.still
        spare_source((path / f"{_stem(file)}.jpg" for file in source.files), source)
        make_directory(path, path)
        if not os.access(path, os.W_OK):
            raise SinkError(f"cannot write {path}: permission denied")
        self._used: set[str] = set()

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Write the picture."""
        _write_image(self._path / f"{self._free_stem(frame)}.jpg", annotated())
        self.written += 1

    def _free_stem(self, frame: Frame) -> str:
        name = _stem(Path(frame.name))
        if not self._still:
            return f"{name}_{frame.index:06d}"
        # A number may itself be the name of another picture.
        stem, number = name, frame.index
        while stem in self._used:
            stem, number = f"{name}_{number:06d}", number + 1
        self._used.add(stem)
        return stem

    def report(self) -> str | None:
        """Where the pictures are."""
        return f"{self.target}{os.sep} ({self.written} pictures)" if self.written else None


class VideoSink(Sink):
    """An annotated video, written under a temporary name and renamed when it is complete and can be read.

    Frames of another size than the first are scaled into it. Live sources keep their time: frames are repeated or
    left out so that the video runs as long as the scene did.

    Args:
        path: The file; its suffix picks the container and the codecs to try.
        source: Tells the rate and whether it is live; its own files are refused.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.target, self._path, self._live = str(path), path, source.live
        fps = source.fps if source.fps and not source.still else DEFAULT_FPS if not source.still else 1.0
        self._fps = min(fps, DEFAULT_FPS) if source.live else fps
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError as error:
            # OpenCV would end the whole process.
            raise SinkError(f"cannot write {path}: the name is not UTF-8; give another one") from error
        prepare_file(path, source)
        self._part = partial_name(path)
        self._writer: cv2.VideoWriter | None = None
        self._codec: Codec | None = None
        self._size = (0, 0)
        self._due = self._encoded = 0

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Encode the frame."""
        image = annotated()
        if self._writer is None:
            # Most codecs work on pairs of pixels.
            self._size = (image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2)
            self._writer, self._codec = self._open()
        if self.written % _CHECK_EVERY == 0 and shutil.disk_usage(self._path.parent).free < _RESERVE_BYTES:
            raise SinkError(f"cannot write {self.target}: the disk is full; the {self.written} frames before are kept")
        image = _fit(image, self._size)
        for _ in range(self._copies(frame.time_s)):
            self._writer.write(image)
            self._encoded += 1
        self.written += 1

    def _copies(self, time_s: float) -> int:
        if not self._live:
            return 1
        slot = int(time_s * self._fps)
        copies = min(slot + 1 - self._due, int(_LONGEST_GAP_S * self._fps)) if self.written else 1
        self._due = slot + 1
        return max(copies, 0)

    def _open(self) -> tuple[cv2.VideoWriter, Codec]:
        codecs = CODECS[self._path.suffix.lower()]
        for codec in codecs:
            writer = cv2.VideoWriter()
            fourcc = cv2.VideoWriter.fourcc(*codec.fourcc)
            arguments = (str(self._part), cv2.CAP_FFMPEG, fourcc, self._fps, self._size)
            if quietly(partial(writer.open, *arguments)) and writer.isOpened():
                return writer, codec
            discard(self._part)
        tried = ", ".join(codec.name for codec in codecs)
        raise SinkError(
            f"this OpenCV cannot write {self.target} (tried {tried}); give a .webm, .mp4 or .avi, or a directory"
        )

    def close(self) -> None:
        """Finish the file, check that it can be read and give it its name."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if not _readable(self._part):
            discard(self._part)
            raise SinkError(f"cannot write {self.target}: the video could not be finished (disk full?)")
        try:
            os.replace(self._part, self._path)
        except OSError as error:
            raise failed(self.target, error, f"the video is in {self._part}") from error

    def report(self) -> str | None:
        """Where the video is, its codec and whether a browser plays it."""
        if not self.written or self._codec is None:
            return None
        browsers = "plays in browsers" if self._codec.browsers else "does not play in browsers; .webm would"
        return f"{self.target}: {self._encoded} frames, {self._codec.name} ({browsers})"


def _stem(path: Path) -> str:
    """A source's name as it can be used in the name of a picture."""
    return re.sub(r"[^\w.()+-]+", "_", path.stem) or "frame"


def _readable(path: Path) -> bool:
    try:
        capture = Capture(str(path))
    except SourceError:
        return False
    image = capture.read()
    capture.close()
    return image is not None


def _fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture in (width, height): scaled as a whole when it is another one, one pixel padded when odd."""
    width, height = size
    if image.shape[1] not in (width, width - 1) or image.shape[0] not in (height, height - 1):
        scale = min(width / image.shape[1], height / image.shape[0])
        inner = (min(max(round(image.shape[1] * scale), 1), width), min(max(round(image.shape[0] * scale), 1), height))
        image = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        right, below = width - inner[0], height - inner[1]
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    right, below = width - image.shape[1], height - image.shape[0]
    if not right and not below:
        return np.ascontiguousarray(image)
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)


def _write_image(path: Path, image: np.ndarray) -> None:
    """Encode and write a picture under a temporary name, then rename it; any Unicode path works."""
    try:
        ok, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        ok = False
    if not ok:
        raise SinkError(f"cannot write {path}: OpenCV cannot encode {path.suffix}; give a .png or .jpg")
    part = partial_name(path)
    try:
        data.tofile(part)
        os.replace(part, path)
    except OSError as error:
        discard(part)
        raise failed(path, error) from error
