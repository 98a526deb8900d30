"""A window on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sinks.base import Annotated, Sink, StopRequested
from humar_edge.runtime.sources.base import Frame
from humar_edge.runtime.sources.capture import cv2

_STOP_KEYS = (ord("q"), 27)


def display_problem() -> str | None:
    """Why no window can be shown here; None when one can."""
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    if any(line.startswith("GUI:") and "NONE" in line for line in lines):
        return "this OpenCV was built without windows (opencv-python-headless)"
    # Qt ends the whole process when there is no display, so ask before it does.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None


class WindowSink(Sink):
    """Shows the annotated frames; q, Esc or closing the window ends the run. Must be used in the main thread.

    Args:
        title: Title of the window.
        wait: Wait for a key after each frame (for pictures).
    """

    target = "window"

    def __init__(self, title: str = "HuMAR Edge", *, wait: bool = False) -> None:
        problem = display_problem()
        if problem:
            raise SinkError(f"cannot show a window: {problem}; use --headless with --output FILE or mjpeg://")
        self._title, self._delay, self._open = title, 0 if wait else 1, False

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Show the frame and look for keys."""
        if self._open and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            raise StopRequested
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, *frame.size)
            self._open = True
        cv2.imshow(self._title, annotated())
        self.written += 1
        if cv2.waitKey(self._delay) & 0xFF in _STOP_KEYS:
            raise StopRequested

    def close(self) -> None:
        """Close the window."""
        if self._open:
            self._open = False
            cv2.destroyWindow(self._title)

    def report(self) -> str | None:
        """Nothing is left to look at."""
        return None
