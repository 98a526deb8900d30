"""OpenCV's video capture behind a small interface that never prints and never raises OpenCV's own errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

# Read by OpenCV when it first touches FFmpeg: without it FFmpeg writes its own messages between ours.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from humar_edge.errors import SourceError

TIMEOUT_MS = 5000
"""How long a network address may stay silent before it counts as lost."""


def quietly(action: Callable[[], bool]) -> bool:
    """Run an OpenCV call without its log lines; OpenCV's exceptions count as False."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return bool(action())
    except cv2.error:
        return False
    finally:
        cv2.utils.logging.setLogLevel(level)


@dataclass(frozen=True)
class Media:
    """What a container says about its video; every field may be wrong, as containers are."""

    fps: float | None
    size: tuple[int, int] | None
    total: int | None


class Capture:
    """A `cv2.VideoCapture` opened for one target.

    Args:
        target: Path, address, GStreamer pipeline or device number.
        api: OpenCV's backend constant.
        network: Apply time limits to opening and reading.
        name: What to call the target in messages; None: as it is.

    Raises:
        SourceError: It cannot be opened.
    """

    def __init__(
        self, target: str | int, api: int = cv2.CAP_ANY, *, network: bool = False, name: str | None = None
    ) -> None:
        shown = name or target
        try:
            str(target).encode()
        except UnicodeEncodeError as error:  # OpenCV would crash
            raise SourceError(f"cannot open {shown}: the name is not UTF-8; rename it") from error
        self._capture = cv2.VideoCapture()
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        if network:
            quietly(lambda: self._capture.open(target, api, limits))
        else:
            quietly(lambda: self._capture.open(target, api))
        if not self._capture.isOpened():
            raise SourceError(f"cannot open {shown}: damaged, cut short, or not a video")
        # On by default in the FFmpeg backend; said here because phones record rotated video.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)

    @property
    def media(self) -> Media:
        """Frames per second, size and number of frames as far as the container tells."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        width, height = (int(self._capture.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        total = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return Media(
            fps=fps if 0.01 < fps <= 1000 else None,
            size=(width, height) if width > 0 and height > 0 else None,
            total=int(total) if 0 < total < 1e9 else None,
        )

    @property
    def position_s(self) -> float:
        """Media time of the last frame read, seconds."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def read(self) -> np.ndarray | None:
        """The next picture as BGR uint8 [H, W, 3], or None at the end or on a failure."""
        try:
            ok, image = self._capture.read()
        except cv2.error:
            return None
        if not ok or image is None or image.size == 0:
            return None
        return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)

    def close(self) -> None:
        """Release the device or file."""
        self._capture.release()
