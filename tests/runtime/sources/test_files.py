"""Pictures and videos: every frame, in order, and one clear line for what cannot be read."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from humar_edge.errors import SourceError
from humar_edge.runtime.sources import open_source
from humar_edge.runtime.sources.files import natural_key
from humar_edge.runtime.sources.pipe import PipeSource

WIDTH, HEIGHT, FRAMES = 64, 48, 12


def write_video(path: Path, frames: int = FRAMES, codec: str = "mp4v", fps: float = 20.0) -> Path:
    """A video whose grey level tells the number of the frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (WIDTH, HEIGHT))
    for index in range(frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), 10 * index % 256, np.uint8))
    writer.release()
    return path


def write_image(path: Path, image: np.ndarray) -> Path:
    cv2.imencode(path.suffix, image)[1].tofile(path)
    return path


def test_video_gives_every_frame_in_order(tmp_path):
    with open_source(write_video(tmp_path / "clip.mp4")) as source:
        assert (source.total, source.fps, source.size) == (FRAMES, 20.0, (WIDTH, HEIGHT))
        assert not source.live and not source.still
        frames = list(source)
    assert [f.index for f in frames] == list(range(FRAMES))
    assert [round(f.image.mean() / 10) for f in frames] == list(range(FRAMES))
    assert np.allclose(np.diff([f.time_s for f in frames]), 1 / 20)
    assert source.dropped == 0


@pytest.mark.parametrize("name", ["日本 é жук.mp4", "100% [a].mp4"])
def test_video_path_of_any_letters(tmp_path, name):
    assert len(list(open_source(write_video(tmp_path / name)))) == FRAMES


@pytest.mark.parametrize("live", [None, True])
def test_video_name_that_is_not_utf8_is_refused(tmp_path, live):
    path = write_video(tmp_path / "clip.avi", codec="MJPG").rename(tmp_path / os.fsdecode(b"lat\xe4.avi"))
    with pytest.raises(SourceError, match=r"cannot open .*the name is not UTF-8; rename it"):
        open_source(path, live=live)


def test_loop_goes_on_counting(tmp_path):
    with open_source(write_video(tmp_path / "clip.mp4"), loop=True, max_frames=30) as source:
        frames = list(source)
    assert [f.index for f in frames] == list(range(30))
    assert (np.diff([f.time_s for f in frames]) > 0).all()


def test_max_frames_limits_total(tmp_path):
    clip = write_video(tmp_path / "clip.mp4")
    with open_source(clip, max_frames=5) as source:
        assert source.total == 5
        assert len(list(source)) == 5
    with pytest.raises(SourceError, match="at least 1"):
        open_source(clip, max_frames=0)


def test_cut_video_ends_with_a_warning(tmp_path, caplog):
    whole = write_video(tmp_path / "whole.webm", frames=60, codec="VP80").read_bytes()
    cut = tmp_path / "cut.webm"
    cut.write_bytes(whole[: len(whole) // 2])
    frames = list(open_source(cut))
    assert re.search(r"cut\.webm gave \d+ of 60 frames", caplog.text)
    assert 0 < len(frames) < 60


def test_corrupt_bytes_in_the_middle_do_not_hang(tmp_path, caplog):
    data = bytearray(write_video(tmp_path / "clip.avi", frames=60, codec="MJPG").read_bytes())
    for start in (m.start() + 40 for m in list(re.finditer(b"00dc", data))[20:25]):
        data[start : start + 300] = bytes(300)
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    frames = list(open_source(damaged))
    assert 50 <= len(frames) < 60 and "damaged" in caplog.text
    assert all(f.image.shape == (HEIGHT, WIDTH, 3) for f in frames)


@pytest.mark.parametrize(
    ("name", "content"),
    [("noise.mp4", b"\0\1\2 not a video" * 200), ("cut.mp4", None), ("noise.bin", b"abc" * 1000)],
)
def test_unreadable_video_names_the_file(tmp_path, name, content):
    path = tmp_path / name
    if content is None:  # an MP4 without its index, as a killed recorder leaves it
        content = write_video(tmp_path / "whole.mp4", frames=60).read_bytes()[:-600]
    path.write_bytes(content)
    with pytest.raises(SourceError, match=name) as caught:
        list(open_source(path))
    assert "\n" not in str(caught.value)


def test_rotation_metadata_is_respected(tmp_path):
    path = write_video(tmp_path / "clip.mp4", frames=3)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # the display matrix of version 0
    data[start : start + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, HEIGHT << 16, 0, 0x40000000)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    with open_source(turned) as source:
        assert next(iter(source)).image.shape == (WIDTH, HEIGHT, 3)


def test_directory_is_sorted_like_people_do(tmp_path):
    for number in (10, 9, 100, 1):
        write_image(tmp_path / f"frame{number}.png", np.full((4, 5, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_source(tmp_path) as source:
        assert source.still and source.total == 4
        frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [1, 9, 10, 100]
    assert Path(frames[0].name).name == "frame1.png"
    assert natural_key(Path("a10")) > natural_key(Path("a9"))


def test_damaged_picture_among_others_is_skipped(tmp_path, caplog):
    write_image(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"nothing")
    assert len(list(open_source(tmp_path))) == 1
    assert re.search(r"skipped: .*b\.png", caplog.text)


@pytest.mark.parametrize(
    "image",
    [
        np.full((6, 8), 200, np.uint8),
        np.full((6, 8, 4), 200, np.uint8),
        np.full((6, 8, 3), 200 * 257, np.uint16),
        np.full((6, 8), 200 * 257, np.uint16),
    ],
    ids=["grey", "rgba", "16-bit", "16-bit grey"],
)
def test_unusual_pictures_become_bgr(tmp_path, image):
    (frame,) = open_source(write_image(tmp_path / "ü 画.png", image))
    assert frame.image.dtype == np.uint8 and frame.image.shape == (6, 8, 3)
    assert (abs(frame.image.astype(int) - 200) <= 1).all()


def test_picture_without_suffix(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((1, 1, 3), np.uint8)).rename(tmp_path / "picture")
    (frame,) = open_source(path)
    assert frame.image.shape == (1, 1, 3)


def test_glob(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png"):
        write_image(tmp_path / name, np.zeros((4, 5, 3), np.uint8))
    assert [Path(f.name).name for f in open_source(str(tmp_path / "a*.png"))] == ["a1.png", "a2.png"]
    with pytest.raises(SourceError, match="nothing matches"):
        open_source(str(tmp_path / "z*.png"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.mp4", "no such file or directory: .*missing.mp4"),
        ("empty_dir", "no pictures in directory"),
        ("empty.mp4", "empty.mp4 is empty"),
        ("bad.png", "bad.png"),
        ("", "the source is empty"),
        ("gopher://x/y", "unknown kind of address gopher://"),
        ("csi://front", "csi://NUMBER"),
        ("-", "--pipe-size"),
        ("/dev/video99", "/dev/video99"),
        ("97", "camera 97 cannot be opened"),
        ("x" * 300 + ".mp4", "file name too long: x"),
        ("~nobody.mp4", "no such file or directory: ~nobody.mp4"),
    ],
)
def test_bad_source_is_one_clear_line(tmp_path, monkeypatch, capfd, spec, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty_dir").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "bad.png").write_bytes(b"x" * 100)
    with pytest.raises(SourceError, match=message) as caught:
        list(open_source(spec))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_name_that_begins_like_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "~nobody.png", np.zeros((4, 5, 3), np.uint8))
    (frame,) = open_source("~nobody.png")
    assert frame.name == "~nobody.png"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(list(open_source("~/~nobody.png"))) == 1


@pytest.fixture
def locked(tmp_path):
    """A folder that may not be entered, not even by root."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    folder.chmod(0o700)


@pytest.mark.parametrize(("name", "message"), [("p.jpg", "permission denied: "), ("*.jpg", "nothing matches ")])
def test_folder_that_may_not_be_entered_is_told(locked, name, message):
    with pytest.raises(SourceError, match=message):
        open_source(locked / name)


def test_csi_says_what_is_missing():
    from humar_edge.runtime.sources.devices import has_gstreamer

    if has_gstreamer():
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(SourceError, match="needs an OpenCV with GStreamer"):
        open_source("csi://0")


def test_pipe(caplog):
    image = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(3, 4, 3)
    frames = list(PipeSource((4, 3), stream=io.BytesIO(image.tobytes() * 2 + b"rest")))
    assert "middle of frame 2" in caplog.text
    assert len(frames) == 2 and np.array_equal(frames[1].image, image)
    with pytest.raises(SourceError, match="--pipe-size"):
        list(PipeSource((400, 300), stream=io.BytesIO(b"too short")))


IN_A_THREAD = """
import sys, threading
from humar_edge.runtime.sources.pipe import PipeSource
source, first = iter(PipeSource((1000, 500))), threading.Event()
def read():
    for frame in source:
        first.set()
threading.Thread(target=read, daemon=True).start()
assert first.wait(20)
"""


def test_stalled_pipe_does_not_abort_the_program():
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_THREAD], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(bytes(1_500_000) + b"a piece of the next")
        process.stdin.flush()
        assert (process.wait(30), process.stderr.read()) == (0, b"")


def test_pipe_without_standard_input():
    code = "from humar_edge.runtime.sources.pipe import PipeSource; PipeSource((4, 3))"
    closed = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, code], capture_output=True, text=True)
    assert "SourceError: cannot read standard input" in closed.stderr
