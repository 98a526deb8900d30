"""Live sources: the newest frame only, failures reported, connections restored."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from humar_edge.errors import SourceError
from humar_edge.runtime.sources import Backoff, LiveSource, open_source
from humar_edge.runtime.sources.capture import Capture, Media
from humar_edge.runtime.sources.live import RealTime

QUICK = Backoff(first_s=0.05, longest_s=0.1, give_up_s=1.0)


class Camera:
    """A camera of 100 pictures a second that is unplugged after some of them."""

    media = Media(100.0, (8, 6), None)

    def __init__(self, pictures: int) -> None:
        self.left, self.closed, self.number = pictures, False, 0

    def read(self):
        time.sleep(0.01)
        if self.left == 0:
            return None
        self.left -= 1
        self.number += 1
        return np.full((6, 8, 3), self.number % 256, np.uint8)

    def close(self):
        self.closed = True


def test_slow_reader_gets_the_newest_frame_and_a_count():
    with LiveSource("camera", lambda: Camera(10_000)) as source:
        taken = []
        for frame in source:
            assert time.perf_counter() - frame.captured < 0.2
            taken.append(frame.index)
            time.sleep(0.1)
            if len(taken) == 5:
                break
        assert source.dropped >= 10
    assert taken == sorted(set(taken)) and taken[-1] > 10


def test_unplugged_camera_raises_and_is_released():
    camera = Camera(5)
    source = LiveSource("camera 0", lambda: camera)
    with pytest.raises(SourceError, match="camera 0 stopped delivering"):
        for _ in source:
            pass
    source.close()
    assert camera.closed and not source._thread.is_alive()


def test_crash_in_the_driver_reaches_the_reader():
    class Broken(Camera):
        def read(self):
            raise RuntimeError("driver")

    with pytest.raises(SourceError, match="failed: driver"):
        list(LiveSource("camera 0", lambda: Broken(1)))


def test_close_wakes_a_waiting_reader():
    class Silent(Camera):
        def read(self):
            time.sleep(0.5)
            return None

    source = LiveSource("camera 0", lambda: Silent(1), backoff=Backoff(first_s=60))
    threading.Timer(0.1, source.close).start()
    started = time.perf_counter()
    assert list(source) == []
    source._thread.join(3)
    assert time.perf_counter() - started < 3


def test_close_while_the_reader_begins(monkeypatch):
    class Late(threading.Thread):
        def start(self):
            time.sleep(0.4)
            super().start()

    camera = Camera(10_000)
    source = LiveSource("camera 0", lambda: camera)
    reader = threading.Thread(target=lambda: list(source))
    monkeypatch.setattr(threading, "Thread", Late)
    reader.start()
    time.sleep(0.1)
    source.close()
    reader.join(5)
    assert not reader.is_alive() and camera.closed
    assert list(source) == []


def test_file_replayed_in_real_time(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (64, 48))
    for _ in range(25):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    with open_source(path, live=True) as source:
        assert source.live and source.fps == 50
        started, count = time.perf_counter(), 0
        for _ in source:
            count += 1
            time.sleep(0.05)
        assert 0.4 < time.perf_counter() - started < 1.5
        assert count < 15 and source.dropped >= 10


def test_replay_does_not_rush_after_a_long_delay(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for _ in range(40):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    replay = RealTime(partial(Capture, str(path)))
    replay.read()
    time.sleep(1.5)
    started = time.perf_counter()
    for _ in range(15):
        replay.read()
    replay.close()
    assert time.perf_counter() - started > 0.4  # 15 pictures at 20 a second, less the quarter that is made up for


class MjpegServer:
    """A camera on the network that can be switched off and on again on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        owner, self.alive = self, True

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                picture = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                try:
                    while owner.alive:
                        self.wfile.write(head + picture + b"\r\n")
                        time.sleep(0.01)
                except OSError:
                    pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.alive = False
        self.server.shutdown()
        self.server.server_close()


def test_stream_survives_a_server_that_dies_and_returns(caplog):
    server = MjpegServer()
    try:
        with open_source(f"http://user:secret@127.0.0.1:{server.port}/stream", backoff=QUICK) as source:
            assert source.live and "secret" not in source.name
            frames = iter(source)
            before = [next(frames) for _ in range(5)]
            server.stop()
            threading.Timer(0.4, server.start).start()
            while source.reconnects == 0:
                after = next(frames)
            after = next(frames)
            assert "connection lost, trying again" in caplog.text
            assert after.image.shape == (48, 64, 3)
            assert after.index > before[-1].index and after.time_s > before[-1].time_s
    finally:
        server.stop()


def test_stream_that_never_returns_gives_up():
    server = MjpegServer()
    with open_source(f"http://127.0.0.1:{server.port}/stream", backoff=QUICK) as source:
        frames = iter(source)
        next(frames)
        server.stop()
        with pytest.raises(SourceError, match="not back after 1 s"):
            for _ in frames:
                pass


def test_absent_server_fails_at_once():
    started = time.perf_counter()
    for address in ("http://127.0.0.1:9/stream", "rtsp://127.0.0.1:9/stream", "http://127.0.0.1:9/a.jpg"):
        with pytest.raises(SourceError, match="cannot be"):
            open_source(address)
    assert time.perf_counter() - started < 5


def test_backoff_doubles_up_to_its_limit():
    pauses = Backoff(first_s=0.5, longest_s=3).pauses()
    assert [next(pauses) for _ in range(5)] == [0.5, 1.0, 2.0, 3, 3]
