"""Photographs of one person each, side by side."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

BGR = {"red": (0, 0, 230), "green": (0, 200, 0), "blue": (230, 0, 0), "yellow": (0, 230, 230)}
BOX = (30.0, 40.0, 40.0, 90.0)
NAMED = 3
"""Photographs per colour."""


@pytest.fixture(scope="module")
def module(tool):
    return tool("join_photos")


@pytest.fixture(scope="module")
def pack(tool, tmp_path_factory):
    """A pack of people named in the table, whose boxes are filled with the colour of their tops."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "lsp").mkdir()
    table, photos = tool("cut_out_people").read_labels(), []
    left, top, width, height = BOX
    for colour, bgr in BGR.items():
        rows = [row for row in table.values() if row["topcolour"] == colour and not row["topcolour2"]]
        for row in [row for row in rows if row["top"] == "shirt" and row["lowercolour"] == "black"][:NAMED]:
            image = np.full((160, 120, 3), 90, np.uint8)
            image[int(top) : int(top + height), int(left) : int(left + width)] = bgr
            known = {"file": f"lsp/{row['id']}.png", "bbox": list(BOX), "people_detected": 1, "colour": colour}
            cv2.imwrite(str(folder / known["file"]), image)
            photos.append(known | {"keypoints": [0.0] * 15 + [left + width / 2, top + 10.0, 2] + [0.0] * 33})
    assert len(photos) >= 2 * len(BGR)
    crowd = next(row["id"] for row in table.values() if row["topcolour"] == "orange")
    photos.append(photos[0] | {"file": f"lsp/{crowd}.png", "people_detected": 4})
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


def test_a_colour_is_that_of_the_box(made):
    pairs, images = made
    spoken = [(entry, truth, set(entry["caption"].split())) for entry, truth in pairs if not truth.get("absent")]
    of_tops = [(entry, truth, said & set(BGR)) for entry, truth, said in spoken if not said & {"hair", "cap", "hat"}]
    fitting = [(entry, truth, *colour) for entry, truth, colour in of_tops if colour]
    assert len(fitting) > 20
    for entry, truth, said in fitting:
        assert colour_in(cv2.imread(str(images / entry["file_name"])), truth["bbox"]) == said


def test_captions_for_nobody_have_no_box(made):
    absent = [truth for _, truth in made[0] if truth.get("absent")]
    assert len(absent) > 20
    assert all(truth["bbox"] == [0] * 4 and truth["num_keypoints"] == 0 for truth in absent)


def test_people_stand_where_the_captions_say(made):
    by_picture = {}
    for entry, truth in made[0]:
        if not truth.get("absent"):
            by_picture.setdefault(entry["file_name"], []).append((entry, truth["bbox"][0]))
    for word, outermost in (("left", min), ("right", max)):
        said = [(x, people) for people in by_picture.values() for e, x in people if word in e["caption"].split()]
        assert len(said) > 10
        assert all(x == outermost(other for _, other in people) for x, people in said)


def test_keypoints_move_with_the_boxes(made):
    for entry, truth in made[0]:
        if not truth.get("absent"):
            x, y, w, h = truth["bbox"]
            assert 0 <= x and 0 <= y and x + w <= entry["width"] + 1 and y + h <= entry["height"] + 1
            shoulder = truth["keypoints"][15:18]
            np.testing.assert_allclose(shoulder, (x + w / 2, y + h * 10 / BOX[3], 2), atol=0.3)


def test_nobody_from_a_crowd_is_used(module):
    single = {"people_detected": 1, "bbox": [0, 0, 40, 90]}
    assert module.usable(single)
    assert not module.usable(single | {"people_detected": 2}) and not module.usable(single | {"bbox": [0, 0, 90, 40]})


def test_a_folder_without_photographs_is_refused(module, tmp_path):
    result = CliRunner().invoke(module.main, [str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2 and "lsp.json" in result.output
    assert not (tmp_path / "out").exists()


def test_a_pack_of_people_nobody_described_is_refused(module, tmp_path):
    (tmp_path / "lsp").mkdir()
    unknown = {"file": "lsp/nobody.jpg", "bbox": list(BOX), "people_detected": 1, "keypoints": [0.0] * 51}
    (tmp_path / "lsp" / "lsp.json").write_text(json.dumps([unknown]), encoding="utf-8")
    result = CliRunner().invoke(module.main, [str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2 and "0 photographs" in result.output
    assert not (tmp_path / "out").exists()
