from __future__ import annotations

import cv2
import numpy as np
import pytest
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.data.refhuman import RefHumanIndex, available_splits, read_annotated, read_image
from humar_edge.errors import DataError

BOX = (20, 10, 60, 110)


def test_an_entry_holds_what_the_file_says(tmp_path):
    write_split(tmp_path, [image(7, "the  man\nin red")], [annotation(7, BOX)])
    index = RefHumanIndex.load(tmp_path, "val")
    (entry,) = index
    assert not index.skipped and not index.repaired
    assert (entry.id, entry.caption, entry.width, entry.height, entry.absent) == (7, "the man in red", 160, 120, False)
    assert entry.bbox.dtype == np.float32 and entry.bbox.tolist() == [20, 10, 40, 100]
    assert entry.box_xyxy.tolist() == list(BOX)
    assert entry.keypoints.shape == (17, 3) and entry.area == 4000
    assert entry.scribble.shape == (5, 12, 2) and entry.scribble.dtype == np.int32
    assert entry.mask().sum() == 4000 and entry.mask()[10:110, 20:60].all()


def test_people_who_are_absent_have_empty_targets(tmp_path):
    write_split(tmp_path, [image(1, "the man in blue")], [nobody(1)])
    (entry,) = RefHumanIndex.load(tmp_path, "val")
    assert entry.absent and entry.scribble is None and not entry.has_mask
    assert not entry.bbox.any() and not entry.keypoints.any() and not entry.mask().any()


def test_flat_scribbles_are_reshaped_and_kept_inside(tmp_path):
    flat = np.tile([500, -3], 60).tolist()
    write_split(tmp_path, [image(1, "a")], [annotation(1, BOX, scribble=flat)])
    (entry,) = RefHumanIndex.load(tmp_path, "val")
    assert entry.scribble.shape == (5, 12, 2) and (entry.scribble == [159, 0]).all()


BROKEN = {
    "missing picture": ({"file_name": "missing.png"}, {}),
    "picture outside images/": ({"file_name": "../a.png"}, {}),
    "no caption": ({"caption": " "}, {}),
    "caption is not Unicode": ({"caption": "half of \ud83d"}, {}),
    "bad width or height": ({"width": 0}, {}),
    "degenerate box": ({}, {"bbox": [5, 5, 0, 10]}),
    "bad box": ({}, {"bbox": [5, 5, "x", 10]}),
    "bad keypoints": ({}, {"keypoints": [1, 2, 3]}),
    "no keypoints": ({}, {"keypoints": [0] * 51}),
    "crowd annotation": ({}, {"iscrowd": 1}),
    "no annotation": ({}, {"image_id": 99}),
    "bad mask": ({}, {"segmentation": {"size": [3, 3], "counts": [9]}}),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_broken_entries_are_counted_and_skipped(tmp_path, reason):
    in_image, in_annotation = BROKEN[reason]
    images = [image(1, "fine"), image(2, "broken") | in_image]
    write_split(tmp_path, images, [annotation(1, BOX), annotation(2, BOX, **in_annotation)])
    index = RefHumanIndex.load(tmp_path, "val")
    assert [entry.id for entry in index] == [1]
    assert dict(index.skipped) == {reason: 1}
    assert index.broken[0][0] == 2 and index.broken[0][2] == reason


def test_several_annotations_and_repeated_ids_are_skipped(tmp_path):
    images = [image(1, "fine"), image(1, "again"), image(2, "two people")]
    write_split(tmp_path, images, [annotation(1, BOX), annotation(2, BOX), annotation(2, BOX)])
    index = RefHumanIndex.load(tmp_path, "val")
    assert len(index) == 1 and dict(index.skipped) == {"id used twice": 1, "several annotations": 1}


def test_ids_that_are_lists_are_skipped(tmp_path):
    images = [image(1, "fine"), image(2, "no id") | {"id": [2]}, image(3, "no annotation")]
    write_split(tmp_path, images, [annotation(1, BOX), annotation(3, BOX, image_id=[3])])
    index = RefHumanIndex.load(tmp_path, "val")
    assert len(index) == 1 and dict(index.skipped) == {"bad id": 1, "no annotation": 1}
    assert dict(index.repaired) == {"annotation of an entry that does not exist": 1}


def test_what_is_mended_is_counted(tmp_path):
    mended = annotation(1, BOX, bbox=[-20, 10, 60, 500], area=0, scribble=[1, 2], segmentation=[])
    write_split(tmp_path, [image(1, "a")], [mended])
    index = RefHumanIndex.load(tmp_path, "val")
    assert index[0].bbox.tolist() == [0, 10, 40, 110] and index[0].area == 40 * 110 and index[0].scribble is None
    assert len(index.repaired) == 4


UNUSABLE = {
    "not json": "is not a readable JSON file",
    "[]": "not in RefHuman format",
    '{"images": []}': "not in RefHuman format",
    '{"images": [], "annotations": []}': "holds no usable entry",
    '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}': "no entry of `images` has a caption",
}


@pytest.mark.parametrize("content", UNUSABLE)
def test_other_files_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "RefHuman_val.json").write_text(content)
    with pytest.raises(DataError, match=UNUSABLE[content]) as caught:
        RefHumanIndex.load(tmp_path, "val")
    assert "\n" not in str(caught.value)


def test_a_missing_split_names_those_that_exist(tmp_path):
    write_split(tmp_path, [image(1, "a")], [annotation(1, BOX)], split="train")
    assert available_splits(tmp_path) == ["train"]
    with pytest.raises(DataError, match=r"splits in .*: train"):
        RefHumanIndex.load(tmp_path, "val")
    with pytest.raises(DataError, match="not a folder"):
        RefHumanIndex.load(tmp_path / "nowhere", "val")


def test_an_index_without_usable_entries_says_why(tmp_path):
    write_split(tmp_path, [image(1, "a", "missing.png")], [annotation(1, BOX)])
    with pytest.raises(DataError, match="missing picture: 1"):
        RefHumanIndex.load(tmp_path, "val")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16", "RGB"])
def test_pictures_of_every_mode_become_bgr(tmp_path, mode):
    images = pytest.importorskip("PIL.Image")
    colour = images.new("RGB", (9, 6), (200, 30, 90))
    if mode == "I;16":
        picture, name = images.fromarray(np.full((6, 9), 40000, np.uint16)), "a.png"
    else:
        picture, name = colour.convert(mode), "a.jpg" if mode == "CMYK" else "a.png"
    picture.save(tmp_path / name)
    frame = read_image(tmp_path / name)
    assert frame.shape == (6, 9, 3) and frame.dtype == np.uint8
    if mode in ("P", "RGBA", "RGB", "CMYK"):
        assert np.abs(frame.mean((0, 1)) - (90, 30, 200)).max() < 30


def test_exif_orientation_is_applied(tmp_path):
    images = pytest.importorskip("PIL.Image")
    picture = images.new("RGB", (20, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 10, 3)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_what_is_no_picture_is_an_error(tmp_path, content):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_image(path)


def test_a_truncated_picture_is_read_or_refused_but_never_crashes(tmp_path):
    done, data = cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))
    assert done
    (tmp_path / "a.png").write_bytes(data.tobytes()[:60])
    with pytest.raises(DataError):
        read_image(tmp_path / "a.png")


def test_captions_share_the_picture(tmp_path):
    write_split(tmp_path, [image(1, "a"), image(2, "b")], [annotation(1, BOX), annotation(2, BOX)])
    first, second = RefHumanIndex.load(tmp_path)
    assert first.image_path is second.image_path


def test_a_picture_must_be_of_the_size_that_all_its_entries_say(tmp_path):
    images = [image(1, "a"), image(2, "b", width=320)]
    write_split(tmp_path, images, [annotation(1, BOX), annotation(2, BOX)])
    entries = RefHumanIndex.load(tmp_path).entries
    assert read_annotated(entries[:1]).shape == (120, 160, 3)
    with pytest.raises(DataError, match=r"a\.png is of another size than annotated \(160x120, annotated 320x120\)"):
        read_annotated(entries)
