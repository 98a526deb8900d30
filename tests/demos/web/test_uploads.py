from __future__ import annotations

import asyncio

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp")
uploads = pytest.importorskip("humar_edge.demos.web.uploads")


class Body:
    """A body that arrives in pieces."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    async def readany(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


class Silence:
    async def readany(self) -> bytes:
        await asyncio.sleep(60)
        return b""


def png(height=8, width=8) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def receive(store, body, announced=None, name="me.png"):
    return asyncio.run(store.receive(body, announced, name))


@pytest.fixture
def store(tmp_path):
    return uploads.Uploads(tmp_path / "uploads", 10_000)


def test_a_picture_is_kept_under_a_name_of_our_own(store):
    data = png()
    kept = receive(store, Body(data[:10], data[10:]), len(data), "../../etc/pass\x00wd.png")
    assert kept.path.parent == store.folder
    assert uploads._NAME.fullmatch(kept.path.name) and kept.path.suffix == ".png"
    assert kept.path.read_bytes() == data
    assert kept.label == "passwd.png"
    assert [item.path for item in store.existing()] == [kept.path]
    store.remove(kept.path)
    store.remove(kept.path)
    assert store.existing() == []


@pytest.mark.parametrize(
    ("body", "announced", "status"),
    [
        (Body(b"x"), 10_001, 413),
        (Body(*[b"x" * 6000] * 2), None, 413),
        (Body(b""), 0, 415),
        (Body(b"#EXTM3U\nfile:///etc/passwd"), None, 415),
        (Body(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), None, 415),
        (Body(b"\x89PNG\r\n\x1a\nbut not really"), None, 415),
        (Body(b"\0\0\0\x18ftypmp42" + bytes(100)), None, 415),
    ],
)
def test_what_is_refused_leaves_nothing_behind(store, body, announced, status):
    with pytest.raises(uploads.UploadError) as refused:
        receive(store, body, announced)
    assert refused.value.status == status
    assert list(store.folder.iterdir()) == []


def test_a_silent_client_is_sent_away(store, monkeypatch):
    monkeypatch.setattr(uploads, "IDLE_S", 0.05)
    with pytest.raises(uploads.UploadError) as refused:
        receive(store, Silence())
    assert refused.value.status == 408
    assert list(store.folder.iterdir()) == []


def test_there_are_only_so_many(store, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 1)
    receive(store, Body(png()))
    with pytest.raises(uploads.UploadError) as refused:
        receive(store, Body(png()))
    assert refused.value.status == 409


def test_a_full_disk_is_told(store, monkeypatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(uploads.UploadError) as refused:
        receive(store, Body(png()))
    assert refused.value.status == 507


@pytest.mark.parametrize(
    ("extension", "suffix"),
    [(".jpg", ".jpg"), (".png", ".png"), (".bmp", ".bmp"), (".webp", ".webp"), (".tiff", ".tif"), (".ppm", ".pnm")],
)
def test_pictures_are_told_by_their_first_bytes(extension, suffix):
    ok, data = cv2.imencode(extension, np.zeros((64, 64, 3), np.uint8))
    assert ok and uploads.suffix_of(data.tobytes()[:512]) == suffix


@pytest.mark.parametrize(("name", "fourcc"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_videos_are_told_by_their_first_bytes(tmp_path, name, fourcc):
    writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*fourcc), 10, (64, 64))
    writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    assert uploads.suffix_of((tmp_path / name).read_bytes()[:512]) == (tmp_path / name).suffix
    uploads.check_media(tmp_path / name, (tmp_path / name).suffix)


@pytest.mark.parametrize(
    ("name", "label"),
    [("a.mp4", "a.mp4"), (r"C:\clips\a.mp4", "a.mp4"), ("", "upload"), ("x/", "upload"), ("a" * 99, "a" * 80)],
)
def test_labels_are_short_and_have_no_folders(name, label):
    assert uploads.label_of(name) == label
