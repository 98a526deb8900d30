"""A folder tree through two real Ray workers on this machine: once for each frame and prompt, and restartable."""

from __future__ import annotations

import importlib.util
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from humar_edge.batch import RUN_FILE, Job, Worker, find_files, run_batch
from humar_edge.cli.batch import command
from humar_edge.errors import BackendError, ConfigError, MissingExtraError, PromptError, SourceError

FRAMES = 7
TEXTS = ("the person in red", "blue")

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra: ray)")


@pytest.fixture
def archive(tmp_path, colour_scene):
    """Two videos and two pictures in folders, a damaged video, and files that are none of these."""
    root = tmp_path / "archive"
    for number, name in enumerate(("clips/one.avi", "clips/deep/two.avi")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (160, 120))
        for index in range(FRAMES + number):
            left = 20 + 5 * index
            writer.write(colour_scene((120, 160), {"red": (left, 30, left + 50, 100)}))
        writer.release()
    for name in ("a.png", "clips/Straße 女.png"):
        content = cv2.imencode(".png", colour_scene((120, 160), {"blue": (60, 30, 110, 90)}))[1].tobytes()
        (root / name).write_bytes(content)
    (root / "damaged.mp4").write_bytes(b"not a video")
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_bytes(b"")
    return root


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def check(results):
    """Exactly one line per frame and prompt, in order."""
    counts = {"a.png": 1, "clips/one.avi": FRAMES, "clips/deep/two.avi": FRAMES + 1, "clips/Straße 女.png": 1}
    for name, frames in counts.items():
        found = [(line["source"], line["frame"], line["text"]) for line in lines(results / f"{name}.jsonl")]
        assert found == [(name, frame, text) for frame in range(frames) for text in TEXTS]
    assert not list(results.rglob(".*")) and not (results / "damaged.mp4.jsonl").exists()
    assert {path.name for path in results.rglob("*") if path.is_file()} == {
        RUN_FILE,
        *(f"{name.rpartition('/')[2]}.jsonl" for name in counts),
    }


@needs_ray
@pytest.mark.slow
def test_two_workers_restart_and_never_repeat(archive, tiny_bundle, tmp_path):
    results = tmp_path / "results"
    common = dict(model=tiny_bundle, backend="onnxruntime", workers=2)
    done = []
    first = run_batch(archive, results, TEXTS, **common, on_file=lambda name, *_: done.append(name))
    assert (first.files, first.skipped, first.frames) == (4, 0, 2 * FRAMES + 3)
    assert list(first.failed) == ["damaged.mp4"] and "not a video" in first.failed["damaged.mp4"]
    assert sorted(done) == sorted(find_files(archive, results))
    check(results)
    red, blue = lines(results / "clips" / "one.avi.jsonl")[:2]
    assert red["found"] and not blue["found"] and np.abs(np.subtract(red["box_xyxy"], (20, 30, 70, 100))).max() < 4
    # A killed run leaves a half file, and no results of what it was at.
    lost, kept = results / "clips" / "one.avi.jsonl", results / "a.png.jsonl"
    lost.rename(lost.with_name(".one.avi.jsonl.0.part"))
    before = kept.stat()
    arguments = ["--source", archive, "--output", results, "--model", tiny_bundle, "--backend", "onnxruntime", "--json"]
    words = [str(word) for word in arguments] + [word for text in TEXTS for word in ("--text", text)]
    again = CliRunner().invoke(command, words)
    assert again.exit_code == 1 and "damaged.mp4" in again.output, (again.output, again.exception)
    summary = next(json.loads(line) for line in again.output.splitlines() if line.startswith("{"))
    assert (summary["files"], summary["skipped"], summary["frames"]) == (1, 3, FRAMES)
    check(results)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_leaves_nothing(archive, tiny_bundle, tmp_path):
    with pytest.raises(BackendError, match="Ray cannot be started"):
        run_batch(archive, tmp_path / "r", TEXTS, model=tiny_bundle, address="nowhere")
    assert not (tmp_path / "r").exists()


def test_a_worker_writes_whole_files_only(archive, tiny_bundle, tmp_path, monkeypatch):
    results = tmp_path / "results"
    (results / "clips" / "deep").mkdir(parents=True)
    worker = Worker(Job(archive, results, TEXTS, tiny_bundle, "onnxruntime"))
    postprocess, calls = worker._predictor.postprocess, []

    def fails_later(*arguments):
        calls.append(1)
        if len(calls) > FRAMES:
            raise SourceError("unplugged")
        return postprocess(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(worker._predictor, "postprocess", fails_later)
        answer = worker({"name": "clips/one.avi"})
    assert answer == {"name": "clips/one.avi", "frames": 0, "error": "unplugged"}
    assert not [path for path in results.rglob("*") if path.is_file()]
    names = ("a.png", "clips/one.avi", "clips/deep/two.avi", "clips/Straße 女.png")
    assert [worker({"name": name})["frames"] for name in names] == [1, FRAMES, FRAMES + 1, 1]
    assert "not a video" in worker({"name": "damaged.mp4"})["error"]
    (results / RUN_FILE).write_text("{}")
    check(results)


def test_nothing_left_to_do_needs_no_ray(archive, tiny_bundle, tmp_path):
    results, options = tmp_path / "results", {"model": tiny_bundle}
    (results / "clips" / "deep").mkdir(parents=True)
    for name in find_files(archive, results):
        (results / f"{name}.jsonl").write_text("")
    (results / "clips" / ".old.jsonl.1.part").write_text("half")
    assert run_batch(archive, results, TEXTS, **options).skipped == 5
    assert not list(results.rglob(".*"))
    with pytest.raises(ConfigError, match="other prompts"):
        run_batch(archive, results, ["green"], **options)
    with pytest.raises(ConfigError, match="other prompts or options"):
        run_batch(archive, results, TEXTS, masks=True, **options)
    (results / RUN_FILE).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        run_batch(archive, results, TEXTS, **options)


def test_refusals(archive, tiny_bundle, tmp_path, monkeypatch):
    options = {"model": tiny_bundle}
    with pytest.raises(SourceError, match="is not a folder"):
        run_batch(tmp_path / "none", tmp_path / "r", TEXTS, **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no videos or pictures"):
        run_batch(tmp_path / "empty", tmp_path / "r", TEXTS, **options)
    with pytest.raises(PromptError):
        run_batch(archive, tmp_path / "r", ["  "], **options)
    with pytest.raises(ConfigError, match="whom to look for"):
        run_batch(archive, tmp_path / "r", [], **options)
    with pytest.raises(ConfigError, match="at least 1"):
        run_batch(archive, tmp_path / "r", TEXTS, workers=0, **options)
    assert not (tmp_path / "r").exists()
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    for texts in (TEXTS, ["other words"]):  # the first try leaves nothing that could refuse the second
        with pytest.raises(MissingExtraError, match=r"humar-edge\[ray\]"):
            run_batch(archive, tmp_path / "r", texts, **options)
    assert not (tmp_path / "r").exists()


def test_results_inside_the_archive_are_no_part_of_it(archive):
    inside = archive / "results"
    inside.mkdir()
    (inside / "b.png").write_bytes(b"")
    names = ["a.png", "clips/deep/two.avi", "clips/one.avi", "clips/Straße 女.png", "damaged.mp4"]
    assert sorted(find_files(archive, inside)) == sorted(names)


def test_results_beside_or_above_the_archive_hide_nothing(archive):
    names = ["a.png", "clips/deep/two.avi", "clips/one.avi", "clips/Straße 女.png", "damaged.mp4"]
    assert sorted(find_files(archive, archive)) == sorted(find_files(archive, archive.parent)) == sorted(names)
    assert len(find_files(archive / "clips", archive)) == 3
