"""The annotated picture as an MJPEG stream over HTTP, for any browser or player."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sinks.base import Annotated, Sink
from humar_edge.runtime.sources.base import Frame
from humar_edge.runtime.sources.capture import cv2

DEFAULT_PORT = 8090
MAX_CLIENTS = 8
JPEG_QUALITY = 80

# A client that takes no data for this long is dropped; the others never notice it.
CLIENT_TIMEOUT_S = 5.0

_BOUNDARY = "humar-frame"


class MjpegSink(Sink):
    """Serves the newest annotated frame; slow clients skip frames, nothing queues up.

    Args:
        spec: `mjpeg://HOST:PORT`; host defaults to the loopback address, port to 8090, port 0 takes any free one.
    """

    def __init__(self, spec: str = "mjpeg://") -> None:
        try:
            parts = urlsplit(spec)
            host, port = parts.hostname or "127.0.0.1", DEFAULT_PORT if parts.port is None else parts.port
        except ValueError as error:
            raise SinkError(f"{spec} is not mjpeg://HOST:PORT") from error
        self._changed = threading.Condition()
        self._picture: bytes | None = None
        self._number = 0
        self._clients = 0
        self._closed = False
        try:
            self._server = _Server((host, port), _handler(self))
        except (OSError, OverflowError, TypeError) as error:  # TypeError: letters that no host name can have
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot serve on {host}:{port}: {reason}; give another port") from error
        self.port: int = self._server.server_port
        self.target = f"http://{host}:{self.port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="humar-mjpeg", daemon=True
        )
        self._thread.start()

    def write(self, frame: Frame, persons: Sequence[Person], annotated: Annotated) -> None:
        """Make the frame the one to show; drawn and encoded only when somebody watches."""
        self.written += 1
        if not self._clients:
            return
        ok, data = cv2.imencode(".jpg", annotated(), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if ok:
            with self._changed:
                self._picture, self._number = data.tobytes(), self._number + 1
                self._changed.notify_all()

    def close(self) -> None:
        """Send clients away and stop serving."""
        if self._closed:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)

    def report(self) -> str | None:
        """Nothing is left to look at."""
        return None

    def enter(self) -> bool:
        """Count a client in; False when there are too many."""
        with self._changed:
            if self._clients >= MAX_CLIENTS or self._closed:
                return False
            self._clients += 1
            return True

    def leave(self) -> None:
        """Count a client out."""
        with self._changed:
            self._clients -= 1

    def next_picture(self, seen: int) -> tuple[int, bytes | None]:
        """Wait for a picture newer than `seen`; None when the sink is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._number > seen and self._picture is not None))
            return self._number, None if self._closed else self._picture


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # server_close must not wait for a client that hangs.
    block_on_close = False


def _handler(sink: MjpegSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT_S

        def log_message(self, *args: object) -> None:
            """Requests are nobody's business on the terminal."""

        def do_GET(self) -> None:
            """Send pictures until the client or the sink has gone."""
            if not sink.enter():
                self.send_error(503, f"at most {MAX_CLIENTS} viewers")
                return
            try:
                self._send_pictures()
            except OSError:
                pass
            finally:
                sink.leave()
                self.close_connection = True

        def _send_pictures(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            seen = 0
            while True:
                seen, picture = sink.next_picture(seen)
                if picture is None:
                    return
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")

    return Handler
