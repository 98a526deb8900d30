"""Sources that do not wait: only the newest frame is kept, the others are counted as dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from humar_edge.errors import SourceError
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.sources.capture import Capture, Media

_log = logging.getLogger(__name__)


class Grabber(Protocol):
    """What a live source reads from; `Capture` is one."""

    @property
    def media(self) -> Media:
        """Rate, size and number of frames."""

    def read(self) -> np.ndarray | None:
        """The next picture, None when there is none any more."""

    def close(self) -> None:
        """Let go of the device."""


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts to reconnect: doubled each time, never longer than `longest_s`.

    Attributes:
        first_s: The first pause, seconds.
        longest_s: The longest pause, seconds.
        give_up_s: Time without a picture after which the source fails, seconds.
    """

    first_s: float = 0.5
    longest_s: float = 10.0
    give_up_s: float = 300.0

    def pauses(self) -> Iterator[float]:
        """The pauses, without end."""
        pause = self.first_s
        while True:
            yield pause
            pause = min(2 * pause, self.longest_s)


class LiveSource(Source):
    """A camera or stream read by its own thread.

    Args:
        name: What the source was opened from.
        connect: Opens the device or stream; raises SourceError when that fails. The first call is made here, so that
            a missing camera is reported at once.
        backoff: How to reconnect when the stream breaks off; None: a broken stream ends the source with an error.
        finite: The end of the pictures is the end of the source, not a failure (a file replayed in real time).
    """

    live = True

    def __init__(
        self, name: str, connect: Callable[[], Grabber], *, backoff: Backoff | None = None, finite: bool = False
    ) -> None:
        self.name, self._connect, self._backoff, self._finite = name, connect, backoff, finite
        self._grabber: Grabber | None = connect()
        media = self._grabber.media
        self.fps, self.size, self.dropped, self.reconnects = media.fps, media.size, 0, 0
        self._fresh: Frame | None = None
        self._error: SourceError | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame each time one is asked for; waits when there is no new one."""
        with self._changed:  # `close` may come from another thread at any time
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._grab, name="humar-grab", daemon=True)
                self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._fresh or self._ended)
                frame, self._fresh = self._fresh, None
                if frame is None:
                    if self._error is not None:
                        raise self._error
                    return
            yield frame

    def close(self) -> None:
        """End the thread; a read that hangs is left to its time limit."""
        self._stop.set()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            thread = self._thread
            if thread is None:
                self._release()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2.0)

    def _grab(self) -> None:
        index, start = 0, time.perf_counter()
        try:
            while not self._stop.is_set():
                image = self._grabber.read() if self._grabber else None
                if image is None:
                    if self._stop.is_set() or self._finite or index == 0 or not self._reconnect():
                        break
                    continue
                now = time.perf_counter()
                if index == 0:
                    start = now
                with self._changed:
                    self.dropped += self._fresh is not None
                    self._fresh = Frame(index, now - start, image, self.name, now)
                    self._changed.notify_all()
                index += 1
            if index == 0 and self._error is None and not self._stop.is_set():
                self._error = SourceError(f"{self.name} opened but delivers no pictures")
        except SourceError as error:
            self._error = error
        except Exception as error:  # anything else must reach the reader too, or it would wait for ever
            self._error = SourceError(f"{self.name} failed: {error}")
        finally:
            self._release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _reconnect(self) -> bool:
        """Try until there is a connection again; False when the source was closed meanwhile."""
        if self._backoff is None:
            raise SourceError(f"{self.name} stopped delivering pictures: unplugged, or used by another program?")
        _log.warning(f"{self.name}: connection lost, trying again")
        self._release()
        deadline = time.monotonic() + self._backoff.give_up_s
        for pause in self._backoff.pauses():
            if self._stop.wait(pause):
                return False
            try:
                grabber = self._connect()
            except SourceError as error:
                if time.monotonic() > deadline:
                    waited = f"{self._backoff.give_up_s:.0f} s"
                    raise SourceError(f"{self.name}: connection lost and not back after {waited}") from error
                continue
            # Some servers accept connections long before they have pictures: count that as not connected.
            if grabber.read() is None:
                grabber.close()
                if time.monotonic() > deadline:
                    raise SourceError(f"{self.name}: connected again but no pictures")
                continue
            self._grabber, self.reconnects = grabber, self.reconnects + 1
            return True
        return False

    def _release(self) -> None:
        if self._grabber is not None:
            self._grabber.close()
            self._grabber = None


_MAKE_UP_S = 0.25


class RealTime:
    """A video read at its own speed, to try out live behaviour without a camera.

    Args:
        open_video: Opens the video at its start.
        loop: Start again at the end.
    """

    def __init__(self, open_video: Callable[[], Capture], *, loop: bool = False) -> None:
        self._open, self._loop = open_video, loop
        self._capture = open_video()
        self.media = self._capture.media
        self._step = 1 / (self.media.fps or 25.0)
        self._due: float | None = None

    def read(self) -> np.ndarray | None:
        """The next picture, not before its time has come."""
        image = self._capture.read()
        if image is None and self._loop:
            self._capture.close()
            self._capture = self._open()
            image = self._capture.read()
        now = time.perf_counter()
        # A long delay is left behind, a short one is made up for: nobody wants to see the clip rush.
        self._due = now if self._due is None else max(self._due + self._step, now - _MAKE_UP_S)
        if self._due > now:
            time.sleep(self._due - now)
        return image

    def close(self) -> None:
        """Close the file."""
        self._capture.close()
