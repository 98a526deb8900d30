"""The check on photographs, on a picture of a checkout of our own."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner


@pytest.fixture
def module(tool):
    return tool("real_photos")


@pytest.fixture
def clones(module, tmp_path, monkeypatch):
    """One photograph with one prompt that has a box and one that fits nobody."""
    picture = {"repository": "me/mine", "path": "a/street.png", "width": 160, "height": 120}
    prompts = [["man in red", [0, 0, 1, 1], "colour"], ["woman in green", None, "colour"]]
    table = tmp_path / "table.json"
    table.write_text(json.dumps([picture | {"prompts": prompts}]))
    monkeypatch.setattr(module, "TABLE", table)
    path = tmp_path / "me/mine/a/street.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    return tmp_path


def test_every_prompt_is_tried_and_failures_are_drawn(module, clones):
    result = CliRunner().invoke(
        module.main, [str(clones), "--failures", str(clones / "f.png"), "--json", str(clones / "f.json")]
    )
    assert result.exit_code == 0, result.output
    report = json.loads((clones / "f.json").read_text())
    assert report["summary"]["all"] == {"prompts": 1, "right": 0.0, "found": 0.0}
    assert report["summary"]["nobody"]["right"] == 1.0
    assert [row["caption"] for row in report["rows"]] == ["man in red", "woman in green"]
    drawn = cv2.imread(str(clones / "f.png"))
    assert drawn.shape == (module.TILE + 22, module.TILE * module.COLUMNS, 3)


def test_a_coarse_photograph_keeps_its_size_and_loses_what_is_fine(module):
    fine = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    coarse = module.brought_to(fine, 30)
    assert coarse.shape == fine.shape and module.brought_to(fine, None) is fine
    assert coarse.std() < 0.5 * fine.std() and abs(coarse.mean() - fine.mean()) < 2


def test_boxes_are_given_in_the_size_of_the_table(module, clones):
    photo = json.loads(module.TABLE.read_text())[0]
    assert module.read(clones, photo).shape == (120, 160, 3)


def test_a_missing_photograph_is_named(module, clones):
    (clones / "me/mine/a/street.png").unlink()
    result = CliRunner().invoke(module.main, [str(clones)])
    assert result.exit_code == 2 and "street.png" in result.output


def test_right_and_refused_are_counted_by_kind(module):
    rows = [
        {"kind": "place", "box": [0, 0, 1, 1], "covers": 0.02, "right": True, "found": True},
        {"kind": "colour", "box": [0, 0, 1, 1], "covers": 0.7, "right": False, "found": True},
        {"kind": "colour", "box": None, "covers": None, "right": False, "found": False},
    ]
    figures = module.summary(rows)
    assert (figures["all"]["right"], figures["place"]["right"], figures["colour"]["prompts"]) == (0.5, 1.0, 1)
    assert (figures["from 0.02"]["right"], figures["from 0.30"]["right"]) == (1.0, 0.0)
    assert figures["nobody"] == {"prompts": 1, "right": 1.0, "found": 0.0}


def test_the_table_is_sound(module):
    photos = json.loads(module.TABLE.read_text())
    assert len(photos) == 137 and len({(photo["repository"], photo["path"]) for photo in photos}) == 137
    boxes = [(photo, box) for photo in photos for _, box, _ in photo["prompts"] if box]
    assert len(boxes) == 556
    for photo, (left, top, right, bottom) in boxes:
        assert 0 <= left < right <= photo["width"] and 0 <= top < bottom <= photo["height"]
