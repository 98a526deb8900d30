"""Addresses as people write them, with passwords, blanks and mistakes; a password appears in no message."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from http_site import LOGIN, http_site

from humar_edge.errors import SourceError
from humar_edge.runtime.sources import open_source
from humar_edge.runtime.sources.devices import without_password


@pytest.fixture
def site(tmp_path):
    """HOST:PORT of a server that asks for a password, with a picture and a recording of 5 frames."""
    for name in ("snap.jpg", "my photo ü.png"):
        cv2.imencode(".png", np.zeros((6, 8, 3), np.uint8))[1].tofile(tmp_path / name)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    with http_site(tmp_path) as host:
        yield host


@pytest.mark.parametrize("path", ["snap.jpg", "snap.jpg?size=a b", "my photo ü.png", "my%20photo%20%C3%BC.png"])
def test_picture_behind_a_password(site, path):
    with open_source(f"http://{LOGIN}@{site}/{path}") as source:
        (frame,) = source
    assert frame.size == (8, 6) and frame.name == f"http://{site}/{path}"


def test_password_is_not_handed_on_to_another_host(site):
    seen = []

    class Elsewhere(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            if len(seen) == 1:
                self.send_response(302)
                self.send_header("Location", f"http://{site}/snap.jpg")
                self.send_header("Content-Length", "0")
                self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with pytest.raises(SourceError, match="cannot be fetched: Unauthorized"):
            open_source(f"http://{LOGIN}@127.0.0.1:{server.server_port}/a.jpg")
        server.shutdown()
    assert len(seen) == 1 and seen[0].startswith("Basic ")


def test_recording_behind_a_password_starts_again(site):
    with open_source(f"http://{LOGIN}@{site}/clip.avi", loop=True, max_frames=12) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert {frame.name for frame in frames} == {f"http://{site}/clip.avi"}


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("127.0.0.1:9/a.jpg", "cannot be fetched"),
        ("127.0.0.1:9/clip.mp4", "cannot open http://127.0.0.1:9/clip.mp4"),
        ("127.0.0.1:9/stream", "cannot be opened"),
        ("127.0.0.1:port/a.jpg", "cannot be fetched: nonnumeric port"),
        ("[::1/a.jpg", "is not an address"),
        ("[::1/stream", "is not an address"),
    ],
)
def test_bad_address_is_one_line_without_the_password(rest, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(f"http://{LOGIN}@{rest}")
    assert "s3cr" not in str(caught.value) and "\n" not in str(caught.value)


def test_answer_that_is_not_http_is_one_line():
    class Nonsense(BaseHTTPRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(b"hello\r\n")

    with ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with pytest.raises(SourceError, match=r"cannot be fetched: hello$"):
            open_source(f"http://127.0.0.1:{server.server_port}/a.jpg")
        server.shutdown()


@pytest.mark.parametrize("rest", ["10.0.0.2:554/a?b=c", "camera.local/a@2x.jpg", "[::1]:554/a", "[::1/a"])
def test_password_is_left_out(rest):
    assert without_password(f"rtsp://user:secret@{rest}") == without_password(f"rtsp://{rest}") == f"rtsp://{rest}"
