"""`humar-edge run` when something fails on the way: one line, exit code 2, and what was written stays whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from humar_edge.cli.main import main
from humar_edge.runtime.sources.capture import Capture, Media

resource = pytest.importorskip("resource")

SIZE = (96, 128)
PROGRAM = "from humar_edge.cli.main import main; main()"


@pytest.fixture
def clip(tmp_path, colour_scene) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, SIZE[::-1])
    for index in range(15):
        writer.write(colour_scene(SIZE, {"red": (40 + index, 20, 60 + index, 80)}))
    writer.release()
    return path


def whole_records(path: Path) -> list[dict]:
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return [json.loads(line) for line in lines]


def test_disk_that_is_full_after_a_while(tiny_bundle, clip, tmp_path):
    """A limit of the file size, which writing meets as it meets a full disk: in the middle of a record."""
    jsonl, table = tmp_path / "r.jsonl", tmp_path / "r.csv"
    options = ["--source", clip, "--loop", "--text", "red", "--jsonl", jsonl, "--csv", table, "--model", tiny_bundle]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "--backend", "onnxruntime", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"error: cannot write {jsonl}" in done.stderr and "what was written is kept" in done.stderr
    frames = [record["frame"] for record in whole_records(jsonl)]
    assert len(frames) > 20 and frames == list(range(len(frames)))
    assert len(table.read_text("utf-8").splitlines()) - 1 in (len(frames), len(frames) + 1)


class Unplugged:
    """A camera that is gone after some pictures."""

    media = Media(50.0, SIZE[::-1], None)

    def __init__(self, image: np.ndarray) -> None:
        self._image, self._left = image, 40

    def read(self) -> np.ndarray | None:
        time.sleep(0.02)
        self._left -= 1
        return self._image if self._left >= 0 else None

    def close(self) -> None:
        pass


def test_camera_that_is_unplugged(tiny_bundle, colour_scene, tmp_path, monkeypatch, capfd):
    camera = Unplugged(colour_scene(SIZE, {"red": (40, 20, 60, 80)}))
    monkeypatch.setattr("humar_edge.runtime.sources.devices.Capture", lambda *_: camera)
    jsonl, video, table = tmp_path / "r.jsonl", tmp_path / "r.avi", tmp_path / "r.json"
    options = ["--camera", "0", "--text", "red", "--model", tiny_bundle, "--backend", "onnxruntime", "--headless"]
    options += ["--jsonl", jsonl, "--output", video, "--coco", table]
    monkeypatch.setattr(sys, "argv", ["humar-edge", "run", *map(str, options)])
    with pytest.raises(SystemExit) as stop:
        main()
    stderr = capfd.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in stderr
    assert "error: camera 0 stopped delivering pictures: unplugged" in stderr
    records = whole_records(jsonl)
    assert records and all(record["found"] for record in records)
    assert len(json.loads(table.read_text("utf-8"))) == len(records)
    assert Capture(str(video)).read().shape == (*SIZE, 3)
