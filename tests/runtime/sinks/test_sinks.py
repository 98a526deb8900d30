"""Outputs: what they write, and that nothing written is lost when something fails."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from humar_edge.errors import SinkError
from humar_edge.results import Person
from humar_edge.runtime.sinks import CocoSink, CsvSink, JsonlSink, Sinks, StopRequested, VideoSink, open_sink
from humar_edge.runtime.sinks.stream import MjpegSink
from humar_edge.runtime.sinks.window import display_problem
from humar_edge.runtime.sources import Frame, Source, open_source

WIDTH, HEIGHT = 64, 48


class Scene(Source):
    """A source of which only the properties matter."""

    def __init__(self, *, still=False, live=False, total=None, fps=20.0, name="clip.mp4"):
        self.still, self.live, self.total, self.fps, self.name = still, live, total, fps, name

    def frames(self):
        yield from ()


def frame(
    index: int = 0, *, name: str = "clip.mp4", width: int = WIDTH, height: int = HEIGHT, fps: float = 20.0
) -> Frame:
    rng = np.random.default_rng(index)
    return Frame(index, index / fps, rng.integers(0, 255, (height, width, 3), dtype=np.uint8), name)


def person(found: bool = True, text: str = "the man in red") -> Person:
    keypoints = np.tile(np.array([10.5, 20.25, 0.9], np.float32), (17, 1))
    box = np.array([5, 6, 25, 46], np.float32)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[6:46, 5:25] = True
    return Person(text, found, 0.75, box, keypoints, (HEIGHT, WIDTH), mask_source=lambda: mask)


def still(path: Path) -> Path:
    """A picture on disk."""
    path.parent.mkdir(exist_ok=True)
    cv2.imencode(path.suffix, frame().image)[1].tofile(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(target, frames, source=None, persons=None):
    with open_sink(target, source or Scene()) as sink:
        for item in frames:
            sink.write(item, persons or [person()], lambda item=item: item.image)
    return sink


def count_frames(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.parametrize("suffix", ["mp4", "webm", "avi", "mkv"])
def test_video_can_be_read_again(tmp_path, suffix):
    path = tmp_path / f"ü out.{suffix}"
    sink = write(path, [frame(i) for i in range(8)])
    assert count_frames(path) == 8
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert "browsers" in sink.report() and "8 frames" in sink.report()


def test_mp4_plays_in_browsers_or_says_that_it_does_not(tmp_path):
    report = write(tmp_path / "out.mp4", [frame()]).report()
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    assert ("plays in browsers" in report) == (fourcc.lower() in {"avc1", "h264", "vp09", "vp90"})


def test_video_of_odd_and_changing_sizes(tmp_path):
    path = tmp_path / "out.mp4"
    write(path, [frame(0, width=65, height=49), frame(1, width=30, height=100), frame(2, width=1, height=1)])
    capture = cv2.VideoCapture(str(path))
    assert capture.read()[1].shape == (50, 66, 3)
    assert count_frames(path) == 3


def test_live_video_keeps_its_time(tmp_path):
    """Ten pictures in ten seconds are ten seconds of video; a long silence is cut."""
    frames = [frame(i, fps=1.0) for i in range(10)]
    late = Frame(11, 600.0, frames[0].image, "camera")
    sink = write(tmp_path / "out.avi", [*frames, late], Scene(live=True, fps=10.0))
    assert sink.written == 11
    assert 91 <= count_frames(tmp_path / "out.avi") <= 91 + 20


def test_video_of_nothing_leaves_no_file(tmp_path):
    write(tmp_path / "out.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_video_so_far(tmp_path, monkeypatch):
    path = tmp_path / "out.avi"
    sink = VideoSink(path, Scene())
    for index in range(10):
        sink.write(frame(index), [], lambda: frame(0).image)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(SinkError, match="disk is full; the 10 frames"), sink:
        sink.write(frame(10), [], lambda: frame(0).image)
    assert count_frames(path) == 10


def test_unfinished_video_is_reported_and_not_left(tmp_path):
    """A real file-size limit, which OpenCV's writer does not report, in a process of its own."""
    script = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sinks import *
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write({str(tmp_path / "out.mp4")!r}, [frame(i) for i in range(5)])
except SinkError as error:
    print("clear:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "clear: cannot write" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_jsonl_lines_are_there_at_once(tmp_path):
    path = tmp_path / "sub" / "out.jsonl"
    with open_sink(path, Scene()) as sink:
        assert not path.exists()
        for index in range(3):
            sink.write(frame(index), [person(), person(False, "zwölf \U0001f600")], lambda: None)
            assert len(path.read_text("utf-8").splitlines()) == 2 * (index + 1)
    record = json.loads(path.read_text("utf-8").splitlines()[-1])
    assert (record["frame"], record["source"], record["found"]) == (2, "clip.mp4", False)
    assert record["schema_version"] == 1 and record["time_s"] == 0.1 and record["text"] == "zwölf \U0001f600"


def test_jsonl_on_a_full_device_is_a_clear_error():
    with pytest.raises(SinkError, match="cannot write /dev/full: No space left"), JsonlSink("/dev/full") as sink:
        sink.write(frame(), [person()], lambda: None)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json"])
def test_full_disk_keeps_whole_records(tmp_path, kind):
    path = tmp_path / f"out.{kind}"
    script = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sinks import *
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write({str(path)!r}, [frame(i) for i in range(100)])
except SinkError as error:
    print("clear:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    kept = int(done.stdout.split("the ")[-1].split(" frames")[0])
    assert "clear: cannot write" in done.stdout and kept > 3, done.stderr
    if kind == "json":
        records = json.loads(path.read_text())
    else:
        records = path.read_bytes().splitlines(keepends=True)[kind == "csv" :]
        assert all(line.endswith(b"\n") for line in records)
    assert len(records) == kept


def test_csv(tmp_path):
    write(tmp_path / "out.csv", [frame(0), frame(1)], persons=[person(), person(False, "=1+1")])
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert len(rows) == 4
    assert float(rows[0]["nose_x"]) == 10.5 and rows[0]["found"] == "1" and rows[0]["right"] == "25.0"
    assert rows[1]["nose_x"] == "" and rows[1]["text"] == "'=1+1"


def test_coco_results(tmp_path):
    path = tmp_path / "out.json"
    write(path, [frame(7), frame(8)])
    results = json.loads(path.read_text())
    assert [r["image_id"] for r in results] == [7, 8]
    assert len(results[0]["keypoints"]) == 51 and results[0]["bbox"] == [5, 6, 20, 40]
    assert results[0]["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000000000139.jpg", "000000000285.png"], [139, 285]),
        (["1.jpg", "x.jpg"], [0, 1]),
        (["1.jpg", "1.png", "01.bmp"], [0, 1, 2]),
    ],
)
def test_coco_ids_are_the_names_if_all_are_numbers(tmp_path, names, ids):
    for name in names:
        still(tmp_path / "in" / name)
    source = open_source(tmp_path / "in")
    write(tmp_path / "out.json", source, source)
    assert [r["image_id"] for r in json.loads((tmp_path / "out.json").read_text())] == ids


def test_coco_ids_of_a_video_named_by_a_number_are_its_frames(tmp_path):
    write(tmp_path / "0001.avi", [frame(i) for i in range(3)])
    source = open_source(tmp_path / "0001.avi", max_frames=3)
    write(tmp_path / "out.json", source, source)
    assert [r["image_id"] for r in json.loads((tmp_path / "out.json").read_text())] == [0, 1, 2]


def test_one_picture(tmp_path):
    path = tmp_path / "画.png"
    write(path, [frame()], Scene(still=True, total=1))
    assert cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(SinkError, match="the source has 9 frames; give a directory"):
        open_sink(path, Scene(total=9))


def test_directory_of_pictures(tmp_path):
    names = ["a/1.png", "b/1.png", "a/2 x.png"]
    sink = write(tmp_path / "out", [frame(i, name=n) for i, n in enumerate(names)], Scene(still=True))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.jpg", "1_000001.jpg", "2_x.jpg"]
    assert "3 pictures" in sink.report()
    write(f"{tmp_path}/video.frames/", [frame(i) for i in range(2)])
    assert sorted(p.name for p in (tmp_path / "video.frames").iterdir()) == ["clip_000000.jpg", "clip_000001.jpg"]


def test_pictures_of_a_directory_never_share_a_name(tmp_path):
    for name in ("a.jpg", "a.png", "a_000001.jpg"):
        still(tmp_path / "in" / name)
    source = open_source(tmp_path / "in")
    write(tmp_path / "out", source, source)
    assert sorted(contents(tmp_path / "out")) == ["a.jpg", "a_000001.jpg", "a_000001_000002.jpg"]


@pytest.mark.parametrize("name", ["-", "camera 0", "http://camera.local/now.jpg"])
def test_directory_of_an_earlier_run_is_written_again(tmp_path, name):
    for _ in range(2):
        write(tmp_path / "out", [frame(name=name)], Scene(name=name))
    assert len(contents(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ("one/p.jpg", "one/p.jpg"),
        ("one", "one/p.jpg"),
        ("one/*.jpg", "two/../one/p.jpg"),
        ("one/p.jpg", "link.png"),
        ("two", "two"),
        ("two", "two/"),
    ],
)
def test_pictures_that_are_read_are_never_overwritten(tmp_path, monkeypatch, spec, target):
    """However the file is reached, and also when the drawing of another picture would take its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("one/p.jpg", "two/p.bmp", "two/p.jpg"):
        still(Path(name))
    Path("link.png").symlink_to("one/p.jpg")
    before = contents(Path("one")), contents(Path("two"))
    with open_source(spec, max_frames=1) as source, pytest.raises(SinkError, match="is a file of the source itself"):
        write(target, source, source)
    assert (contents(Path("one")), contents(Path("two"))) == before


@pytest.mark.parametrize("sink", [JsonlSink, CsvSink, CocoSink])
@pytest.mark.parametrize("options", [{}, {"live": True}, {"max_frames": 1}], ids=str)
def test_video_that_is_read_is_never_overwritten(tmp_path, sink, options):
    clip = tmp_path / "clip.avi"
    write(clip, [frame()])
    before = clip.read_bytes()
    with open_source(clip, **options) as source:
        with pytest.raises(SinkError, match="is a file of the source itself"):
            open_sink(clip, source)
        with pytest.raises(SinkError, match="is a file of the source itself"):
            sink(clip, source)
    assert clip.read_bytes() == before


@pytest.mark.parametrize("suffix", ["png", "webm", "jsonl", "json", "csv"])
def test_names_may_be_as_long_as_the_system_allows(tmp_path, suffix):
    path = tmp_path / f"{'n' * (254 - len(suffix))}.{suffix}"
    write(path, [frame()], Scene(still=True, total=1))
    assert list(contents(tmp_path)) == [path.name]


@pytest.mark.parametrize("target", ["n" * 300, *(f"{'n' * 300}.{kind}" for kind in ("png", "mp4", "jsonl", "json"))])
def test_longer_names_are_one_clear_line(tmp_path, target):
    with pytest.raises(SinkError, match=r"cannot write .*File name too long"):
        open_sink(tmp_path / target, Scene(total=1))


@pytest.mark.parametrize("name", ["out.png", "out.mp4", "out.jsonl", "out"])
def test_folder_that_may_not_be_entered_is_one_clear_line(tmp_path, name):
    from permissions import locked  # not where the scripts above import this module

    with locked(tmp_path), pytest.raises(SinkError, match=r"cannot write .*Permission denied"):
        open_sink(tmp_path / name, Scene(total=1))


def test_video_name_that_is_not_utf8_is_refused(tmp_path):
    """OpenCV would end the process."""
    with pytest.raises(SinkError, match="the name is not UTF-8"):
        open_sink(f"{tmp_path}/lat\udce4out.mp4", Scene())


def test_source_name_that_is_not_utf8_is_kept_in_records(tmp_path):
    name = "lat\udce4.jpg"
    write(tmp_path / "out.jsonl", [frame(name=name)])
    write(tmp_path / "out.csv", [frame(name=name)])
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["source"] == name
    assert r"lat\udce4.jpg" in (tmp_path / "out.csv").read_text("utf-8")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "the output is empty"),
        ("out.xyz", "unknown kind of output out.xyz; known: .mp4"),
        ("file.txt/out.mp4", "cannot write file.txt/out.mp4: "),
        ("file.txt/out.jsonl", "cannot write"),
        ("file.txt/frames/", "cannot write"),
        ("/proc/nothing/out.csv", "cannot write"),
        ("mjpeg://127.0.0.1:notaport", "mjpeg://HOST:PORT"),
        ("mjpeg://127.0.0.1:99999", "mjpeg://HOST:PORT"),
        ("mjpeg://[", "mjpeg://HOST:PORT"),
        ("mjpeg://ü..b:0", "cannot serve on ü..b:0"),
    ],
)
def test_bad_target_is_one_clear_line(tmp_path, monkeypatch, target, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("in the way")
    with pytest.raises(SinkError, match=message) as caught:
        open_sink(target, Scene())
    assert "\n" not in str(caught.value)


def test_window_without_a_display_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if display_problem() is None:
        pytest.skip("windows need no display variable here")
    with pytest.raises(SinkError, match="--headless"):
        open_sink("window", Scene())


def test_several_sinks_draw_once_and_all_are_finished(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("humar_edge.runtime.sinks.annotate", lambda image, persons: drawn.append(1) or image)
    targets = [tmp_path / name for name in ("a.avi", "b.webm", "c.jsonl", "d.json")]
    sinks = Sinks([open_sink(t, Scene()) for t in targets])

    with pytest.raises(StopRequested), sinks:
        for index in range(3):
            sinks.write(frame(index), [person()])
        raise StopRequested
    assert len(drawn) == 3
    assert count_frames(targets[0]) == count_frames(targets[1]) == 3
    assert len(json.loads(targets[3].read_text())) == 3
    assert len(sinks.reports()) == 4


def test_frames_nobody_looks_at_are_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("humar_edge.runtime.sinks.annotate", lambda *_: pytest.fail("drawn"))
    with Sinks([open_sink("none", Scene()), open_sink(tmp_path / "a.jsonl", Scene())]) as sinks:
        sinks.write(frame(), [person()])


def test_mjpeg_viewer_and_a_client_that_never_reads():
    with MjpegSink("mjpeg://127.0.0.1:0") as sink:
        deaf = socket.create_connection(("127.0.0.1", sink.port))
        deaf.sendall(b"GET / HTTP/1.0\r\n\r\n")
        stop = threading.Event()
        slowest = [0.0]
        big = frame(width=640, height=480)

        def feed():
            while not stop.is_set():
                started = time.perf_counter()
                sink.write(big, [], lambda: big.image)
                slowest[0] = max(slowest[0], time.perf_counter() - started)
                time.sleep(0.01)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            with urllib.request.urlopen(sink.target, timeout=5) as reply:
                assert "multipart/x-mixed-replace" in reply.headers["Content-Type"]
                data = b""
                while data.count(b"--humar-frame") < 5:
                    data += reply.read(65536)
            assert b"\xff\xd8\xff" in data
        finally:
            stop.set()
            feeder.join()
            deaf.close()
        assert slowest[0] < 0.5
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", sink.port), timeout=1).close()


def test_mjpeg_port_in_use_is_a_clear_error():
    with MjpegSink("mjpeg://127.0.0.1:0") as sink, pytest.raises(SinkError, match="give another port"):
        MjpegSink(f"mjpeg://127.0.0.1:{sink.port}")
