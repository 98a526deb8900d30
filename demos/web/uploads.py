"""Clips that a viewer sends: streamed to disk under names of our own, limited in size and time, and looked at."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientPayloadError, StreamReader, http_exceptions, web

from humar_edge.errors import HumarError, SourceError
from humar_edge.runtime.preprocess import read_image
from humar_edge.runtime.sources import IMAGE_SUFFIXES
from humar_edge.runtime.sources.capture import Capture

MAX_FILES = 20
MAX_PIXELS = 8192 * 8192
IDLE_S, TOTAL_S = 20.0, 900.0
"""Longest silence and longest duration of an upload, seconds."""

_SPARE_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 512
_BROKEN = (ConnectionError, ClientPayloadError, web.RequestPayloadError, http_exceptions.HttpProcessingError)
_NAME = re.compile(r"[0-9a-f]{16}\.[a-z0-9]{2,4}")

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", ".jpg"),
    (rb"\x89PNG\r\n\x1a\n", ".png"),
    (rb"BM.{4}\0\0\0\0", ".bmp"),
    (rb"RIFF.{4}WEBP", ".webp"),
    (rb"II\*\0|MM\0\*", ".tif"),
    (rb"P[1-6]\s", ".pnm"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n", ".jp2"),
    (rb".{4}ftypavi[fs]", ".avif"),
    (rb"GIF8[79]a", ".gif"),
    (rb".{4}(ftyp|moov|mdat|wide|free|skip)", ".mp4"),
    (rb"\x1aE\xdf\xa3", ".mkv"),
    (rb"RIFF.{4}AVI ", ".avi"),
    (rb"\0\0\x01[\xba\xb3]", ".mpg"),
    (rb"G.{187}G", ".ts"),
    (rb".{4}G.{191}G", ".m2ts"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (rb"FLV\x01", ".flv"),
    (rb"OggS", ".ogv"),
)
"""First bytes -> our suffix. Play lists are not among them: a player would follow them to other files."""


class UploadError(HumarError):
    """An upload that is refused.

    Attributes:
        status: The HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """A file that was accepted."""

    path: Path
    label: str


def label_of(name: str) -> str:
    """The client's name for a file as something to show: the last part, printable, at most 80 characters."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return shown[:80] or "upload"


def suffix_of(head: bytes) -> str | None:
    """Our suffix for a file that begins like this, None when it is no picture or video we know."""
    for pattern, suffix in SIGNATURES:
        if re.match(pattern, head, re.DOTALL):
            return suffix
    return None


class Uploads:
    """The folder of uploads.

    Args:
        folder: Where they go; created when missing.
        max_bytes: Largest file.

    Raises:
        SourceError: The folder cannot be created.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"cannot create {folder}: {error.strerror or error}") from error
        self.folder, self.max_bytes = folder, max_bytes
        self._under_way = 0

    def existing(self) -> list[Upload]:
        """Uploads of earlier sessions, oldest first."""
        paths = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file()]
        return [Upload(path, path.name) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]

    async def receive(self, content: StreamReader, announced: int | None, name: str) -> Upload:
        """Take a body from the network.

        Args:
            content: The body.
            announced: Its announced length, None when unknown.
            name: What the client calls it.

        Raises:
            UploadError: Too large, too slow, too many, no room, or neither a picture nor a video.
        """
        self._check_room(announced)
        part = self.folder / f".{secrets.token_hex(8)}.part"
        self._under_way += 1
        try:
            head = await self._store(content, part)
            suffix = suffix_of(head)
            if suffix is None:
                raise UploadError(415, "not a picture or video; MP4, WebM, MOV, AVI, JPEG and PNG work")
            path = self.folder / f"{secrets.token_hex(8)}{suffix}"
            await asyncio.to_thread(check_media, part, suffix)
            part.rename(path)
        except OSError as error:
            raise UploadError(507, f"cannot store the upload: {error.strerror or error}") from error
        finally:
            self._under_way -= 1
            part.unlink(missing_ok=True)
        return Upload(path, label_of(name))

    def remove(self, path: Path) -> None:
        """Delete an upload; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def _check_room(self, announced: int | None) -> None:
        if announced is not None and announced > self.max_bytes:
            raise self._too_large()
        if len(self.existing()) + self._under_way >= MAX_FILES:
            raise UploadError(409, f"at most {MAX_FILES} uploads; remove one first")
        if shutil.disk_usage(self.folder).free < (announced or 0) + _SPARE_BYTES:
            raise UploadError(507, "the disk of the server is full")

    async def _store(self, content: StreamReader, part: Path) -> bytes:
        head, size, deadline = b"", 0, time.monotonic() + TOTAL_S
        with part.open("xb") as file:
            while True:
                left = min(IDLE_S, deadline - time.monotonic())
                try:
                    chunk = await asyncio.wait_for(content.readany(), max(left, 0.0))
                except asyncio.TimeoutError as error:
                    raise UploadError(408, "the upload was too slow") from error
                except _BROKEN as error:
                    raise UploadError(400, "the upload broke off") from error
                if not chunk:
                    return head
                size += len(chunk)
                if size > self.max_bytes:
                    raise self._too_large()
                head += chunk[: _HEAD_BYTES - len(head)] if len(head) < _HEAD_BYTES else b""
                await asyncio.to_thread(file.write, chunk)

    def _too_large(self) -> UploadError:
        return UploadError(413, f"larger than the {self.max_bytes / 1e6:g} MB that this server takes")


def check_media(path: Path, suffix: str) -> None:
    """Make sure that OpenCV reads at least one frame of a bearable size.

    Raises:
        UploadError: It does not.
    """
    refused = UploadError(415, "the file is damaged, or of a kind that OpenCV cannot read here")
    try:
        if suffix in IMAGE_SUFFIXES:
            read_image(path)
            return
        capture = Capture(str(path))
    except SourceError as error:
        raise refused from error
    try:
        size = capture.media.size
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise UploadError(413, f"a video of {size[0]} x {size[1]} pixels is too large")
        if capture.read() is None:
            raise refused
    finally:
        capture.close()
