"""A real server in a process of its own, with the tiny bundle and a clip of coloured rectangles."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BOXES = {"red": (20, 10, 60, 90), "green": (90, 20, 140, 100)}
SIZE = (120, 160)
COMMAND = "from humar_edge.cli.main import main; main()"


class Server:
    """A running `humar-edge serve` and a client for it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines, self.port = process, list[str](), 0
        # Read all the time: a full pipe would stop the server.
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Until it has told its address."""
        end = time.monotonic() + seconds
        while not (port := re.search(r"open http://[^/]+:(\d+)/", "".join(self.lines))):
            assert self.process.poll() is None and time.monotonic() < end, self.lines
            time.sleep(0.05)
        self.port = int(port[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, Iterator)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The decoded answer; the request must succeed."""
        status, _, data = self.request(method, path, body, headers)
        assert status in (200, 201), (status, data)
        return json.loads(data)

    def state(self) -> dict[str, Any]:
        return self.json("GET", "/api/state")

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 20.0) -> dict[str, Any]:
        """The first state that fulfils a condition."""
        end = time.monotonic() + seconds
        while True:
            state = self.state()
            if condition(state):
                return state
            assert time.monotonic() < end, state
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it; returns the output since it was ready."""
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        self.reader.join(timeout=5)
        return "".join(self.lines[2:])


@contextmanager
def serving(bundle: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-c", COMMAND, "serve", "--model", str(bundle), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--backend", "onnxruntime", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    server = Server(process)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        server.reader.join(timeout=5)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, colour_scene: Callable[..., np.ndarray]) -> Path:
    """A video of a red and a green person who stand still."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("clips") / "people.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, SIZE[::-1])
    for _ in range(20):
        writer.write(colour_scene(SIZE, BOXES))
    writer.release()
    return path


@pytest.fixture(scope="session")
def run_server(tiny_bundle: Path) -> Callable[..., Any]:
    """`with run_server("--source", path) as server:`"""
    pytest.importorskip("aiohttp")
    pytest.importorskip("onnxruntime")

    def run(*arguments: str, bundle: Path = tiny_bundle) -> Any:
        return serving(bundle, *arguments)

    return run


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any], clip: Path) -> Iterator[Server]:
    """A server that shows the clip and looks for the man in red; shared by the tests of a module."""
    with run_server("--source", str(clip), "--text", "the man in red", "--max-upload-mb", "1") as running:
        running.wait_for(lambda state: state["frames"] > 0)
        yield running
