"""RTSP with a real server on the loopback address: it is killed, comes back, freezes, or never answers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import humar_edge
from humar_edge.errors import SourceError
from humar_edge.runtime.sources import Backoff, open_source
from humar_edge.runtime.sources.capture import Capture

SERVER = Path(__file__).resolve().parents[2] / "support" / "rtsp_server.py"
CLIP = Path(humar_edge.__file__).parent / "assets" / "demo.mp4"
QUICK = Backoff(first_s=0.05, longest_s=0.2, give_up_s=30.0)


class RtspServer:
    """The server as a process of its own, always on the same port."""

    def __init__(self, *options: str) -> None:
        self.port, self.options = "0", options
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(SERVER), self.port, str(CLIP), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = self.process.stdout.readline().strip()
        assert self.port, "the server did not start"

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/clip"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server() -> Iterator[RtspServer]:
    running = RtspServer()
    yield running
    running.kill()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A second of silence is enough."""
    monkeypatch.setattr("humar_edge.runtime.sources.capture.TIMEOUT_MS", 1000)


def test_pictures_are_those_of_the_clip(server):
    def small(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, (80, 60), interpolation=cv2.INTER_AREA).astype(int)

    whole = Capture(str(CLIP))
    originals = [small(whole.read()) for _ in range(60)]
    with open_source(server.url, max_frames=5) as source:
        assert source.live and source.size == (640, 480) and "secret" not in source.name
        for frame in source:
            # Which ones arrive is not known.
            assert min(np.abs(small(frame.image) - other).mean() for other in originals) < 3


def test_killed_and_restarted_twice(server, caplog):
    with open_source(server.url, backoff=QUICK) as source:
        frames = iter(source)
        last = next(frames)
        for count in (1, 2):
            server.kill()
            threading.Timer(0.5, server.start).start()
            while source.reconnects < count:
                frame = next(frames)
                assert frame.index > last.index and frame.time_s > last.time_s
                last = frame
            for _ in range(5):
                last = next(frames)
            assert last.image.shape == (480, 640, 3) and time.perf_counter() - last.captured < 1
        assert source.reconnects == 2
    assert caplog.text.count("connection lost, trying again") == 2 and "secret" not in caplog.text


def test_frozen_server_counts_as_lost(server, impatient):
    """No end of the connection tells that it is gone; only time does."""
    with open_source(server.url, backoff=QUICK) as source:
        frames = iter(source)
        next(frames)
        server.process.send_signal(signal.SIGSTOP)
        threading.Timer(2.5, server.process.send_signal, [signal.SIGCONT]).start()
        started = time.monotonic()
        while source.reconnects == 0:
            next(frames)
        assert next(frames).image.shape == (480, 640, 3)
        assert time.monotonic() - started < 15


def test_server_that_accepts_and_never_answers(impatient):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        with pytest.raises(SourceError, match="cannot be opened: is the address right, the server running"):
            open_source(f"rtsp://127.0.0.1:{deaf.getsockname()[1]}/clip")
        assert time.monotonic() - started < 5


def test_server_that_answers_and_sends_no_picture(impatient):
    server = RtspServer("--mute")
    try:
        started = time.monotonic()
        with (
            pytest.raises(SourceError, match=f"rtsp://127.0.0.1:{server.port}/clip opened but delivers no pictures"),
            open_source(server.url, backoff=QUICK) as source,
        ):
            next(iter(source))
        assert time.monotonic() - started < 10
    finally:
        server.kill()


def test_run_goes_on_after_the_server_was_killed(server, tiny_bundle, tmp_path):
    jsonl = tmp_path / "r.jsonl"
    options = ["--source", server.url, "--text", "red", "--model", str(tiny_bundle), "--backend", "onnxruntime"]
    options += ["--max-frames", "60", "--jsonl", str(jsonl), "--json"]
    command = [sys.executable, "-c", "from humar_edge.cli.main import main; main()", "run", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while run.poll() is None and not (jsonl.exists() and jsonl.stat().st_size):
            time.sleep(0.05)
        server.kill()
        time.sleep(0.5)
        before = jsonl.read_text("utf-8").splitlines()
        server.start()
        stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 0, stderr
    assert "connection lost, trying again" in stderr and "secret" not in stderr + stdout
    assert json.loads(stdout)["reconnects"] == 1
    lines = jsonl.read_text("utf-8").splitlines()
    assert 0 < len(before) < len(lines) == 60 and lines[: len(before)] == before
