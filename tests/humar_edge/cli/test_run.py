"""`humar-edge run` from end to end, with a tiny real bundle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import humar_edge.runtime.sources  # before the first use of cv2's video functions: it silences FFmpeg
from humar_edge.cli.main import main

SIZE = (96, 128)
FRAMES = 15


def red_box(index: int) -> tuple[int, int, int, int]:
    return (40 + index, 20, 60 + index, 80)


@pytest.fixture
def run(tiny_bundle, monkeypatch, capfd):
    """Calls the command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object, model: object = tiny_bundle, backend: str = "onnxruntime") -> tuple[int, str, str]:
        words = ["humar-edge", "run", "--model", model, "--backend", backend, *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def clip(tmp_path, colour_scene) -> Path:
    path = tmp_path / "clip é.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE[::-1])
    for index in range(FRAMES):
        writer.write(colour_scene(SIZE, {"red": red_box(index), "blue": (5, 5, 25, 60)}))
    writer.release()
    return path


@pytest.fixture
def picture(tmp_path, colour_scene) -> Path:
    path = tmp_path / "画.png"
    cv2.imencode(".png", colour_scene(SIZE, {"red": red_box(0)}))[1].tofile(path)
    return path


def one_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_all_outputs_of_a_clip(run, clip, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = run(
        *("--source", clip, "--text", "the person in red", "--text", "man in green", "--no-smooth"),
        *("--output", out / "video.mp4", "--output", out / "frames/"),
        *("--jsonl", out / "r.jsonl", "--csv", out / "r.csv", "--coco", out / "r.json"),
    )
    assert code == 0, stderr
    assert "tiny on onnxruntime" in stdout
    assert "the person in red: found in 100% of the frames" in stdout
    assert "man in green: found in 0% of the frames" in stdout
    for word in ("p50", "p90", "p99", "preprocess", "inference", "postprocess", "frames/s from end to end", "browsers"):
        assert word in stdout

    records = [json.loads(line) for line in (out / "r.jsonl").read_text("utf-8").splitlines()]
    assert len(records) == 2 * FRAMES
    for record in records[::2]:
        assert record["source"] == str(clip) and record["found"]
        assert np.allclose(record["box_xyxy"], red_box(record["frame"]), atol=3)
        assert record["time_s"] == pytest.approx(record["frame"] / 25, abs=1e-3)
    assert all(not record["found"] and record["keypoints"] is None for record in records[1::2])
    assert len(list(csv.DictReader((out / "r.csv").open(encoding="utf-8", newline="")))) == 2 * FRAMES
    assert len(json.loads((out / "r.json").read_text())) == 2 * FRAMES
    assert len(list((out / "frames").iterdir())) == FRAMES
    capture, count = cv2.VideoCapture(str(out / "video.mp4")), 0
    while capture.read()[0]:
        count += 1
    assert count == FRAMES
    assert not [p for p in out.iterdir() if "part" in p.name]


def test_json_lines_follow_the_schema(run, clip, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(humar_edge.__file__).parent / "assets" / "person.schema.json").read_text())
    code, stdout, _ = run("--source", clip, "--text", "red", "--text", "green", "--jsonl", "-", "--masks")
    assert code == 0
    records = [json.loads(line) for line in stdout.splitlines()]
    assert len(records) == 2 * FRAMES
    for record in records:
        jsonschema.validate(record, schema)


def test_one_picture_in_and_out(run, picture, tmp_path):
    out = tmp_path / "out.jpg"
    code, stdout, _ = run("--source", picture, "--text", "red", "--output", out)
    assert code == 0 and out.is_file()
    assert "red: found in box 4" in stdout and "1 frame at" in stdout
    code, stdout, _ = run("--source", picture, "--text", "green")
    assert code == 0 and "green: not found" in stdout and "nothing was written" in stdout


def test_summary_as_json(run, clip):
    code, stdout, _ = run("--source", clip, "--text", "red", "--json", "--max-frames", 4)
    summary = json.loads(one_line(stdout))
    assert code == 0 and summary["frames"] == 4 and summary["found"] == {"red": 1.0}
    assert summary["backend"] == "onnxruntime" and summary["fps"] > 0


def test_points_scribble_and_box(run, clip, tmp_path):
    scribble = tmp_path / "scribble.txt"
    scribble.write_text("45, 30\n50 60\n")
    nested = tmp_path / "scribble.json"
    nested.write_text("[[[45, 30], [50, 60]], [[48, 70]]]")
    for prompt in (
        ("--point", "50,50"),
        ("--point", "50,50", "--point", "52,40"),
        ("--scribble", scribble),
        ("--scribble", nested),
        ("--box", "40,20,60,80"),
    ):
        code, stdout, stderr = run("--source", clip, *prompt, "--json")
        assert code == 0, stderr
        assert list(json.loads(stdout)["found"].values()) == [1.0], prompt


def test_region_of_interest_and_loop(run, clip):
    code, stdout, _ = run("--source", clip, "--text", "red", "--roi", "--loop", "--max-frames", 40, "--json")
    summary = json.loads(stdout)
    assert code == 0 and summary["frames"] == 40 and summary["found"] == {"red": 1.0}


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 1, 3), 128, np.uint8),
        np.full((50, 30), 128, np.uint8),
        np.full((50, 30, 4), 128, np.uint8),
        np.full((50, 30, 3), 128 * 257, np.uint16),
        np.full((3, 3000, 3), 128, np.uint8),
    ],
    ids=["1x1", "grey", "rgba", "16-bit", "very wide"],
)
def test_unusual_pictures_give_results(run, tmp_path, image):
    path = tmp_path / "ü.png"
    cv2.imencode(".png", image)[1].tofile(path)
    code, stdout, stderr = run("--source", path, "--text", "red", "--output", tmp_path / "out.png", "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["found"] == {"red": 0.0}
    assert cv2.imread(str(tmp_path / "out.png")).shape[:2] == image.shape[:2]


BAD = {
    "missing file": (["--source", "missing.mp4", "--text", "red"], "no such file or directory: missing.mp4"),
    "empty folder": (["--source", "empty", "--text", "red"], "no pictures in directory empty"),
    "corrupt video": (["--source", "corrupt.mp4", "--text", "red"], "corrupt.mp4"),
    "corrupt picture": (["--source", "corrupt.png", "--text", "red"], "corrupt.png"),
    "empty prompt": (["--source", "p.png", "--text", " "], "prompt is empty"),
    "missing camera": (["--camera", "93", "--text", "red"], "camera 93 cannot be opened"),
    "no source": (["--text", "red"], "run needs a source: --camera NUMBER, or --source"),
    "two sources": (["--camera", "0", "--source", "p.png", "--text", "red"], "run takes one source"),
    "no prompt": (["--source", "p.png"], "whom to look for?"),
    "no pipe size": (["--source", "-", "--text", "red"], "--pipe-size"),
    "unknown output": (["--source", "p.png", "--text", "red", "--output", "a.xyz"], "unknown kind of output a.xyz"),
    "output in the way": (
        ["--source", "p.png", "--text", "red", "--output", "p.png/a.jpg"],
        "cannot write p.png/a.jpg",
    ),
    "over the source": (
        ["--source", "p.png", "--text", "red", "--output", "p.png"],
        "p.png is a file of the source itself",
    ),
    "no prompt in Unicode": (
        ["--source", "p.png", "--text", "m\udce4n"],
        "prompt holds characters that are not Unicode",
    ),
    "no scribble": (["--source", "p.png", "--scribble", "none.txt"], "cannot read scribble none.txt"),
    "bad scribble": (["--source", "p.png", "--scribble", "words.txt"], "is not rows of x,y"),
    "uneven scribble": (["--source", "p.png", "--scribble", "uneven.json"], "is not rows of x,y or a JSON list"),
    "deep scribble": (["--source", "p.png", "--scribble", "deep.json"], "is not rows of x,y or a JSON list"),
    "bad box": (["--source", "p.png", "--box", "9,9,1,1"], "left < right"),
    "point outside": (["--source", "p.png", "--point", "900,900"], "outside the frame"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_2_and_no_half_file(run, picture, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    picture.rename("p.png")
    Path("empty").mkdir()
    Path("corrupt.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(range(256)) * 20)
    Path("corrupt.png").write_bytes(b"\x89PNG" + bytes(100))
    Path("words.txt").write_text("not a scribble\nat all here\n")
    Path("uneven.json").write_text("[[[1, 2]], 5]")
    Path("deep.json").write_text("[" * 100_000)
    before = sorted(p.name for p in tmp_path.iterdir())
    arguments, message = BAD[case]
    code, _, stderr = run(*arguments, "--jsonl", "half.jsonl", "--csv", "half.csv", "--coco", "half.json")
    assert code == 2
    assert message in one_line(stderr) and stderr.startswith("error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--jsonl", "--csv", "--coco"])
def test_records_never_overwrite_the_source(run, picture, option):
    before = picture.read_bytes()
    code, _, stderr = run("--source", picture, "--text", "red", option, picture)
    assert code == 2 and "is a file of the source itself" in one_line(stderr)
    assert picture.read_bytes() == before


@pytest.mark.parametrize("size", ["nanx5", "infx5", "640.7x480", "0x5", "-1x5", "640", "640x480x3", "640x"])
def test_pipe_size_is_two_whole_numbers(run, size):
    code, _, stderr = run("--source", "-", "--text", "red", f"--pipe-size={size}")
    assert code == 2 and f"'{size}' is not WIDTHxHEIGHT in pixels, for example 640x480" in stderr


def test_source_name_that_is_not_utf8(tiny_bundle, picture, tmp_path):
    """Also on a terminal that takes nothing but UTF-8."""
    named = picture.rename(tmp_path / "lat\udce4.png")
    program = [sys.executable, "-c", "from humar_edge.cli.main import main; main()", "run", "--model", tiny_bundle]
    done = subprocess.run(
        [*program, "--source", named, "--text", "red", "--csv", tmp_path / "r.csv"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"lat\udce4.png" in done.stdout
    assert rb"lat\udce4.png" in (tmp_path / "r.csv").read_bytes()


def test_bundle_with_a_wrong_hash(run, make_tiny_bundle, picture, tmp_path):
    make_tiny_bundle(tmp_path / "bundle")
    with (tmp_path / "bundle" / "vision.onnx").open("ab") as stream:
        stream.write(b"x")
    code, _, stderr = run("--source", picture, "--text", "red", model=tmp_path / "bundle")
    assert code == 2 and "vision.onnx" in one_line(stderr)


def test_long_prompt_is_cut_with_a_warning(run, picture):
    code, _, stderr = run("--source", picture, "--text", "red " + "person " * 499)
    assert code == 0 and "longer than 32 tokens" in one_line(stderr)


def test_damaged_clip_keeps_what_was_readable(run, clip, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    code, _, stderr = run("--source", cut, "--text", "red", "--jsonl", tmp_path / "r.jsonl")
    lines = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert code == 0 and 0 < len(lines) < FRAMES
    assert "damaged or cut short" in one_line(stderr)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_interrupt_finishes_the_files(tiny_bundle, clip, tmp_path, kind):
    jsonl, video = tmp_path / "r.jsonl", tmp_path / "r.webm"
    arguments = [
        "--source",
        clip,
        "--loop",
        "--text",
        "red",
        "--model",
        tiny_bundle,
        "--jsonl",
        jsonl,
        "--output",
        video,
    ]
    program = "from humar_edge.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and not (jsonl.exists() and jsonl.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(kind)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "stopped; files are being finished" in stderr and "Traceback" not in stderr
    assert f"wrote {video}" in stdout
    records = [json.loads(line) for line in jsonl.read_text("utf-8").splitlines()]
    capture, count = cv2.VideoCapture(str(video)), 0
    while capture.read()[0]:
        count += 1
    assert 0 < count and abs(count - len(records)) <= 1


def test_raw_pipe(tiny_bundle, colour_scene, tmp_path):
    frames = b"".join(colour_scene(SIZE, {"red": red_box(i)}).tobytes() for i in range(5))
    arguments = ["--source", "-", "--pipe-size", f"{SIZE[1]}x{SIZE[0]}", "--text", "red", "--jsonl", "-", "--no-smooth"]
    program = [sys.executable, "-c", "from humar_edge.cli.main import main; main()", "run"]
    done = subprocess.run(
        [*program, *arguments, "--model", str(tiny_bundle)],
        input=frames,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["frame"] for r in records] == list(range(5))
    assert all(np.allclose(r["box_xyxy"], red_box(r["frame"]), atol=3) for r in records)


def test_show_without_a_display_is_a_clear_error(run, picture, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if not sys.platform.startswith("linux"):
        pytest.skip("windows need no display variable here")
    code, _, stderr = run("--source", picture, "--text", "red", "--show")
    assert code == 2 and "cannot show a window" in one_line(stderr)


def test_key_in_the_window_ends_the_run_and_finishes_files(run, clip, tmp_path, monkeypatch):
    """The machine that runs the tests has no display, so the four window functions are stood in for."""
    keys = iter([-1, -1, ord("q")])
    monkeypatch.setattr("humar_edge.runtime.sinks.window.display_problem", lambda: None)
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1)
    monkeypatch.setattr(cv2, "waitKey", lambda _: next(keys))
    code, stdout, stderr = run("--source", clip, "--text", "red", "--show", "--jsonl", tmp_path / "r.jsonl")
    assert code == 0, stderr
    assert len((tmp_path / "r.jsonl").read_text("utf-8").splitlines()) == 3
    assert "3 frames at" in stdout


def test_reader_of_a_pipe_that_goes_away_is_no_error(tiny_bundle, clip):
    arguments = ["--source", clip, "--loop", "--text", "red", "--model", tiny_bundle, "--jsonl", "-"]
    program = [sys.executable, "-c", "from humar_edge.cli.main import main; main()", "run", *map(str, arguments)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "options",
    [("--jsonl", "r", "--coco", "r"), ("--output", "r.csv", "--csv", "./r.csv"), ("--output", "f/", "--output", "f/")],
    ids=["two records", "output and record", "two folders"],
)
def test_two_outputs_of_one_name_are_refused_and_nothing_is_written(run, clip, tmp_path, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    code, _, stderr = run("--source", clip, "--text", "red", *options)
    assert code == 2 and "two outputs would go there" in one_line(stderr)
    assert set(tmp_path.iterdir()) == before
