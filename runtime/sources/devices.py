"""Cameras and network addresses."""

from __future__ import annotations

import base64
import http.client
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import numpy as np

from humar_edge.errors import SourceError
from humar_edge.runtime.preprocess import as_bgr
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.sources.capture import TIMEOUT_MS, Capture, cv2
from humar_edge.runtime.sources.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoSource
from humar_edge.runtime.sources.live import Backoff, LiveSource

CSI_PIPELINE = (
    "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! "
    "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)
"""Jetson's camera over GStreamer, the newest frame only."""

_MAX_IMAGE_BYTES = 64 * 1024 * 1024

# An endless stream has no business ending; these do.
_FINITE_SUFFIXES = VIDEO_SUFFIXES - {".mjpg", ".mjpeg", ".ts"}


def has_gstreamer() -> bool:
    """Whether this OpenCV was built with GStreamer (the wheels of PyPI are not)."""
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    return any(line.startswith("GStreamer:") and "YES" in line for line in lines)


def open_camera(index: int) -> Source:
    """A camera by its number."""

    def connect() -> Capture:
        api = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        try:
            return Capture(index, api)
        except SourceError as error:
            raise SourceError(f"camera {index} cannot be opened; {_cameras_hint()}") from error

    return LiveSource(f"camera {index}", connect)


def open_device(path: str) -> Source:
    """A V4L2 device by its path."""

    def connect() -> Capture:
        if not os.path.exists(path):
            raise SourceError(f"there is no {path}; {_cameras_hint()}")
        try:
            return Capture(path, cv2.CAP_V4L2)
        except SourceError as error:
            raise SourceError(f"{path} cannot be opened: no camera, in use, or no permission (group video)") from error

    return LiveSource(path, connect)


def open_csi(spec: str) -> Source:
    """A Jetson's CSI camera, `csi://0`."""
    sensor = spec[len("csi://") :] or "0"
    if not sensor.isdigit():
        raise SourceError(f"a CSI camera is csi://NUMBER, got {spec}")
    if not has_gstreamer():
        raise SourceError(
            f"{spec} needs an OpenCV with GStreamer, and this one ({cv2.__version__}) has none; "
            "use JetPack's python3-opencv, or a V4L2 camera such as /dev/video0"
        )

    def connect() -> Capture:
        try:
            return Capture(CSI_PIPELINE.format(sensor=int(sensor)), cv2.CAP_GSTREAMER)
        except SourceError as error:
            raise SourceError(f"{spec} cannot be opened: is the camera connected, nvargus-daemon running?") from error

    return LiveSource(spec, connect)


def without_password(address: str) -> str:
    """An address as it may appear in messages and results: user name and password left out."""
    return re.sub(r"(?<=://)[^/?#]*@", "", address)


def open_network(
    address: str, *, loop: bool = False, live: bool | None = None, backoff: Backoff | None = None
) -> Source:
    """A stream, recording or picture at an rtsp://, http:// or https:// address.

    Addresses of video files are read frame by frame like files, everything else is live and reconnects;
    `live` overrides the guess.

    Raises:
        SourceError: It is no address, or cannot be read; the message does not hold its password.
    """
    name = without_password(address)
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise SourceError(f"{name} is not an address: is the name of the host right?") from error
    suffix = PurePosixPath(parts.path).suffix.lower()
    is_rtsp = address.lower().startswith("rtsp")
    if live is None and not is_rtsp and suffix in IMAGE_SUFFIXES:
        return DownloadedImage(parts, name)
    if live is False or (live is None and not is_rtsp and suffix in _FINITE_SUFFIXES):
        return VideoSource(address, loop=loop, network=True, name=name)

    def connect() -> Capture:
        try:
            return Capture(address, cv2.CAP_FFMPEG, network=True)
        except SourceError as error:
            raise SourceError(f"{name} cannot be opened: is the address right, the server running?") from error

    return LiveSource(name, connect, backoff=backoff or Backoff())


class DownloadedImage(Source):
    """One picture at an address, fetched when the source is opened."""

    still = True
    total = 1

    def __init__(self, address: SplitResult, name: str) -> None:
        self.name = name
        try:
            with urllib.request.urlopen(_request(address), timeout=TIMEOUT_MS / 1000) as reply:
                data = reply.read(_MAX_IMAGE_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = " ".join(str(getattr(error, "reason", error)).split())
            raise SourceError(f"{name} cannot be fetched: {reason}") from error
        if len(data) > _MAX_IMAGE_BYTES:
            raise SourceError(f"{name} is larger than {_MAX_IMAGE_BYTES >> 20} MB")
        try:
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
        except cv2.error:
            image = None
        if image is None:
            raise SourceError(f"{name} is not a picture that OpenCV can read")
        self._image = as_bgr(image)
        self.size = (image.shape[1], image.shape[0])

    def frames(self) -> Iterator[Frame]:
        """Yield the picture."""
        yield Frame(0, 0.0, self._image, self.name)


def _request(address: SplitResult) -> urllib.request.Request:
    """As people write addresses, and as urllib wants them: escaped, with user and password in a header."""
    user, at, host = address.netloc.rpartition("@")
    # What is escaped already stays as it is.
    path, query = (quote(part, safe="%/:;=&?@!$'()*+,~") for part in (address.path, address.query))
    request = urllib.request.Request(urlunsplit((address.scheme, host, path, query, "")))
    if at:
        login = base64.b64encode(unquote(user).encode()).decode()
        # Not for the host that a redirection leads to.
        request.add_unredirected_header("Authorization", f"Basic {login}")
    return request


def _cameras_hint() -> str:
    devices = sorted(f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("video")) if _is_linux() else []
    if devices:
        return f"this machine has {', '.join(devices)}"
    return "no /dev/video* on this machine; give --source FILE instead" if _is_linux() else "is it connected?"


def _is_linux() -> bool:
    return sys.platform.startswith("linux")
