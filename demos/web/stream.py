"""The newest picture for everybody who watches; nobody can make it queue up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sinks import annotate
from humar_edge.runtime.sources.base import Frame
from humar_edge.runtime.sources.capture import cv2

MAX_VIEWERS = 8
MAX_FPS = 30
JPEG_QUALITY = 82

LONGEST_SIDE = 1280
"""Pictures for the page are made smaller than this; snapshots are not."""

CLIENT_TIMEOUT_S = 10.0
"""A viewer that takes no data for this long is cut off."""

_ALIVE_CHECK_S = 2.0
_BOUNDARY = "humar-frame"


@dataclass(eq=False)
class Shown:
    """A frame with its results; drawn and encoded when somebody first wants it, and only once.

    Attributes:
        number: Counts the frames that were published.
        source: What the page calls the source.
        frame: The frame.
        persons: All results, one per prompt.
        drawn: Those to draw, None in the place of the others.
    """

    number: int
    source: str
    frame: Frame
    persons: Sequence[Person]
    drawn: Sequence[Person | None]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _small: bytes | None = field(default=None, repr=False)

    def jpeg(self) -> bytes:
        """The annotated picture for the page."""
        with self._lock:
            if self._small is None:
                self._small = _encode(self, ".jpg", LONGEST_SIDE)
            return self._small

    def full(self, suffix: str) -> bytes:
        """The annotated picture at full size, `.jpg` or `.png`."""
        return _encode(self, suffix, None)


def _encode(shown: Shown, suffix: str, longest: int | None) -> bytes:
    image = annotate(shown.frame.image, shown.drawn)
    height, width = image.shape[:2]
    if longest is not None and max(height, width) > longest:
        scale = longest / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY if longest else 95] if suffix == ".jpg" else []
    ok, data = cv2.imencode(suffix, image, options)
    if not ok:
        raise SinkError(f"cannot encode a picture of {width} x {height} pixels as {suffix}")
    return data.tobytes()


class Hub:
    """Hands the newest `Shown` from the thread that makes it to the viewers of an event loop."""

    def __init__(self) -> None:
        self.latest: Shown | None = None
        self.viewers = 0
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh = asyncio.Event()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop the viewers run in; before this, nobody is told of new pictures."""
        self._loop = loop

    def publish(self, shown: Shown) -> None:
        """Make this the picture to show; called by one thread that is not the loop's."""
        self.latest = shown
        self._notify()

    def close(self) -> None:
        """Send the viewers away."""
        self.closed = True
        self._notify()

    async def next(self, seen: int, timeout_s: float) -> Shown | None:
        """A picture newer than number `seen`; None when none came in time or the hub is closed."""
        deadline = time.monotonic() + timeout_s
        while not self.closed:
            fresh = self._fresh
            if self.latest is not None and self.latest.number > seen:
                return self.latest
            try:
                await asyncio.wait_for(fresh.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                return None
        return None

    def _notify(self) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The loop has ended: there is nobody left to tell.
                self._loop = None

    def _wake(self) -> None:
        # A new event for the next picture: setting and clearing one would miss waiters that come in between.
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()


async def send_stream(request: web.Request, hub: Hub) -> web.StreamResponse:
    """Answer with the annotated pictures as `multipart/x-mixed-replace` until the viewer or the hub has gone."""
    if hub.viewers >= MAX_VIEWERS:
        raise web.HTTPServiceUnavailable(text=f"at most {MAX_VIEWERS} viewers at a time")
    response = web.StreamResponse()
    response.headers["Content-Type"] = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    response.force_close()
    hub.viewers += 1
    try:
        await response.prepare(request)
        await _limited(response, f"--{_BOUNDARY}\r\n".encode())
        seen = 0
        while not hub.closed and request.transport is not None and not request.transport.is_closing():
            shown = await hub.next(seen, _ALIVE_CHECK_S)
            if shown is None:
                continue
            started, seen = time.monotonic(), shown.number
            picture = await asyncio.to_thread(shown.jpeg)
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            # The boundary comes behind the picture because browsers wait for it before they show one.
            await _limited(response, head + picture + f"\r\n--{_BOUNDARY}\r\n".encode())
            await asyncio.sleep(max(0.0, 1 / MAX_FPS - (time.monotonic() - started)))
    except asyncio.TimeoutError:
        # Closing would wait for the data that the viewer does not take.
        if request.transport is not None:
            request.transport.abort()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        hub.viewers -= 1
    return response


async def _limited(response: web.StreamResponse, data: bytes) -> None:
    await asyncio.wait_for(response.write(data), CLIENT_TIMEOUT_S)
