"""Photographs of one person each, side by side."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

BGR = {"red": (0, 0, 230), "green": (0, 200, 0), "blue": (230, 0, 0), "yellow": (0, 230, 230), "white": (255, 255, 255)}
BOX = (30.0, 40.0, 40.0, 90.0)


def photo(name, colour, **changes):
    left, top, width, _ = BOX
    keypoints = [0.0] * 51
    keypoints[15:18] = [left + width / 2, top + 10.0, 2]
    garment = {"color": colour, "conf": 0.9}
    trousers = {"color": "brown", "conf": 0.9}
    known = {"file": f"lsp/{name}.png", "bbox": list(BOX), "keypoints": keypoints, "people_detected": 1}
    return known | {"upper": garment, "lower": trousers} | changes


@pytest.fixture(scope="module")
def module(tool):
    return tool("join_photos")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A pack of single people whose boxes are filled with their colour, and of somebody in a crowd, who is orange."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "lsp").mkdir()
    photos = [photo(colour, colour) for colour in BGR] + [photo("crowd", "orange", people_detected=4)]
    for known in photos:
        image = np.full((160, 120, 3), 90, np.uint8)
        left, top, width, height = map(int, BOX)
        image[top : top + height, left : left + width] = BGR.get(known["upper"]["color"], (0, 128, 255))
        cv2.imwrite(str(folder / known["file"]), image)
    (folder / "lsp" / "lsp.json").write_text(json.dumps(photos), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(module, pack, tmp_path_factory):
    """Pairs of image entry and annotation of 40 pictures, and their folder."""
    out = tmp_path_factory.mktemp("joined")
    result = CliRunner().invoke(module.main, [str(pack), str(out), "--pictures", "40", "--seed", "3"])
    assert result.exit_code == 0, result.output
    content = json.loads((out / "RefHuman_train.json").read_text(encoding="utf-8"))
    return list(zip(content["images"], content["annotations"], strict=True)), out / "images"


def colour_in(image, box):
    """The colour that fills the middle of a box, by name."""
    x, y, w, h = box
    inside = image[round(y + 0.2 * h) : round(y + 0.8 * h), round(x + 0.2 * w) : round(x + 0.8 * w)].reshape(-1, 3)
    return min(BGR, key=lambda name: np.abs(inside.mean(0) - BGR[name]).sum())


def test_a_colour_is_that_of_the_box_and_none_in_captions_for_nobody(made):
    pairs, images = made
    named = [(entry, truth, set(entry["caption"].split()) & set(BGR)) for entry, truth in pairs]
    fitting = [(entry, truth, *said) for entry, truth, said in named if said and not truth.get("absent")]
    assert len(fitting) > 40
    for entry, truth, said in fitting:
        assert colour_in(cv2.imread(str(images / entry["file_name"])), truth["bbox"]) == said
    absent = [(entry, truth) for entry, truth in pairs if truth.get("absent")]
    assert absent
    for entry, truth in absent:
        there = {colour_in(cv2.imread(str(images / entry["file_name"])), t["bbox"]) for e, t in pairs
                 if e["file_name"] == entry["file_name"] and not t.get("absent")}  # fmt: skip
        assert not there & set(entry["caption"].split()) and truth["bbox"] == [0.0] * 4


def test_people_stand_where_the_captions_say(made):
    pairs, _ = made
    by_picture = {}
    for entry, truth in pairs:
        if not truth.get("absent"):
            by_picture.setdefault(entry["file_name"], []).append((entry, truth["bbox"][0]))
    said = 0
    for people in by_picture.values():
        for entry, x in people:
            if "left" in entry["caption"].split():
                assert x == min(other for _, other in people)
                said += 1
            if "right" in entry["caption"].split():
                assert x == max(other for _, other in people)
    assert said > 20


def test_keypoints_move_with_the_boxes(made):
    for entry, truth in made[0]:
        if not truth.get("absent"):
            x, y, w, h = truth["bbox"]
            assert 0 <= x and 0 <= y and x + w <= entry["width"] + 1 and y + h <= entry["height"] + 1
            shoulder = truth["keypoints"][15:18]
            np.testing.assert_allclose(shoulder, (x + w / 2, y + h * 10 / BOX[3], 2), atol=0.3)


def test_nobody_who_is_held_out_is_used(made):
    assert not any("orange" in entry["caption"].split() and not truth.get("absent") for entry, truth in made[0])


def test_no_colour_is_said_that_somebody_else_may_wear(module):
    people = [photo("a", "red"), photo("b", "red"), photo("c", "pink")]
    for seed in range(40):
        told = module.captions(people, 0, np.random.default_rng(seed))
        assert told and all(text.split()[-1] in ("left", "red") or "left" in text.split() for text in told)


def test_colours_nobody_is_sure_of_are_not_said(module):
    unsure = {"color": "red", "conf": 0.3}
    people = [photo("a", "red", upper=unsure), photo("b", "green")]
    assert not any(
        "red" in text for seed in range(40) for text in module.captions(people, 0, np.random.default_rng(seed))
    )


def test_a_folder_without_photographs_is_refused(module, tmp_path):
    result = CliRunner().invoke(module.main, [str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2 and "lsp.json" in result.output
    assert not (tmp_path / "out").exists()
