"""Cut-outs of photographed people whose joints are annotated, on drawn photos."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

SHIRT, TROUSERS, SKIN = (40, 40, 200), (160, 60, 20), (120, 150, 210)
JOINTS = {5: (70, 60), 6: (50, 60), 7: (74, 82), 8: (46, 82), 9: (76, 104), 10: (44, 104), 11: (66, 110), 12: (54, 110),
          13: (66, 150), 14: (54, 150), 15: (66, 188), 16: (54, 188)}  # fmt: skip


@pytest.fixture
def module(tool):
    return tool("cut_out_people")


@pytest.fixture
def photo():
    """A drawn photo, its record and the drawn person's pixels."""
    rng = np.random.default_rng(0)
    image = rng.integers(90, 120, (220, 120, 3), dtype=np.uint8) + np.array([0, 60, 0], np.uint8)
    figure = np.zeros((220, 120, 3), np.uint8)
    cv2.circle(figure, (60, 42), 12, SKIN, -1)
    cv2.rectangle(figure, (48, 54), (72, 112), SHIRT, -1)
    for shoulder, elbow, wrist in ((5, 7, 9), (6, 8, 10)):
        cv2.line(figure, JOINTS[shoulder], JOINTS[elbow], SHIRT, 9)
        cv2.line(figure, JOINTS[elbow], JOINTS[wrist], SKIN, 8)
    for hip, ankle in ((11, 15), (12, 16)):
        cv2.line(figure, JOINTS[hip], JOINTS[ankle], TROUSERS, 11)
    person = figure.any(2)
    image[person] = figure[person]
    joints = np.zeros((17, 3))
    for index, place in JOINTS.items():
        joints[index] = (*place, 2)
    named = {"conf": 0.9, "color2": None}
    record = {
        "file": "lsp/images/im1.png", "w": 120, "h": 220, "bbox": [38, 28, 44, 168], "people_detected": 1,
        "caption": None,
        "keypoints": joints.reshape(-1).tolist(), "upper": named | {"color": "red"}, "lower": named | {"color": "blue"},
    }  # fmt: skip
    return image, record, person


def test_a_rough_mask_is_refined_to_the_person(module, photo):
    image, record, person = photo
    rough = cv2.dilate(person.astype(np.uint8), np.ones((5, 5))) > 0
    found = module.outline(record, image, rough)
    assert (found & person).sum() / (found | person).sum() > 0.93


def test_a_mask_of_somebody_else_is_doubted(module, photo):
    image, record, person = photo
    assert module.outline(record, image, np.roll(person, 45, axis=1)) is None
    assert module.outline(record, image, np.ones_like(person)) is None


def test_clothes_are_named_by_the_pack_and_skin_is_not(module, photo):
    image, record, person = photo
    shirt, trousers = module.garments(record, image, person)
    assert (shirt["color"], shirt["conf"], trousers["name"], trousers["color"]) == ("red", 0.9, "pants", "blue")
    bare = image.copy()
    bare[58:112, 48:73] = SKIN
    top = module.garments(record | {"upper": {"color": "beige", "conf": 0.9, "color2": None}}, bare, person)[0]
    assert top["color"] is None and top["conf"] < module.SURE
    assert module.garments(record | {"upper": None}, image, person)[0]["color"] is None


def test_a_cut_out_moves_the_joints_with_it(module, photo, tmp_path):
    image, record, person = photo
    found = module.cut_out(record, image, person, tmp_path / "im1.webp")
    cut = cv2.imread(str(tmp_path / "im1.webp"), cv2.IMREAD_UNCHANGED)
    assert (
        cut.shape[:2] == (found["h"], found["w"]) == (np.ptp(person.nonzero()[0]) + 1, np.ptp(person.nonzero()[1]) + 1)
    )
    x, y = np.array(found["keypoints"]).reshape(17, 3)[5:, :2].round().astype(int).T
    assert (cut[y, x, 3] > 150).all() and found["full_body"] and found["num_keypoints"] == 12
    lying = {name: record[name] for name in record} | {"w": 220, "h": 120}
    assert module.cut_out(lying, np.rot90(image), np.rot90(person), tmp_path / "lying.webp") is None


LABEL = {"id": "im1", "quality": "so", "gender": "boy", "head": "cap", "headcolour": "red", "top": "shirt",
         "topcolour": "yellow", "topcolour2": "black", "lower": "shorts", "lowercolour": "?", "hair": "blond",
         "action": "running", "object": "ball", "view": "back",
         "glasses": "?"}  # fmt: skip


def test_what_somebody_saw_replaces_what_was_measured(module, photo, tmp_path):
    image, record, person = photo
    nosy = module.add_nose(record | {"neck": [60, 56], "head_top": [60, 28]}, np.array([61.0, 42.0]))
    measured = module.cut_out(nosy, image, person, tmp_path / "im1.webp")
    found = module.apply_labels(measured, LABEL)
    assert [(g["name"], g["part"], g["color"]) for g in found["garments"]] == [
        ("shirt", "upper", "yellow"),
        ("shorts", "lower", None),
        ("cap", "hat", "red"),
    ]
    assert found["garments"][0]["color2"] == "black" and found["garments"][1]["conf"] < module.SURE
    assert (found["gender"], found["child"], found["hat"], found["glasses"]) == ("boy", True, True, None)
    assert found["hair"]["color"] == "blond" and found["num_keypoints"] == 13
    assert (found["facing"], found["top"], found["action"], found["object"]) == ("back", "shirt", "running", "ball")


def test_nothing_is_told_of_a_head_out_of_sight(module, photo, tmp_path):
    image, record, person = photo
    nosy = module.add_nose(record | {"neck": [60, 56], "head_top": [60, 28]}, np.array([61.0, 42.0]))
    measured = module.cut_out(nosy, image, person, tmp_path / "im1.webp")
    hidden = LABEL | {"gender": "?", "head": "?", "headcolour": "?", "hair": "?", "top": "bare", "lower": "none"}
    found = module.apply_labels(measured, hidden)
    assert found["keypoints"][2] == 0 and found["num_keypoints"] == 12
    assert (found["garments"], found["hat"], found["hair"], found["gender"], found["child"]) == (
        [],
        False,
        None,
        None,
        False,
    )


@pytest.mark.parametrize("nose", [[61.0, 90.0], [5.0, 42.0]])
def test_a_nose_outside_the_head_is_not_believed(module, photo, nose):
    record = photo[1] | {"neck": [60, 56], "head_top": [60, 28]}
    assert module.add_nose(record, np.array(nose)) == record
    assert module.add_nose(photo[1] | {"neck": None, "head_top": None}, np.array([61.0, 42.0]))["keypoints"][2] == 0


def test_the_table_made_by_eye_uses_known_words_only(module, tool):
    words_of = tool("more_words")
    labels = module.read_labels()
    assert len(labels) > 1000
    colours = {*module.LAB, "?", ""}
    words = {
        "quality": {"ok", "so", "bad"}, "gender": {"man", "woman", "boy", "girl", "?"},
        "head": {*module.HEADWEAR, "none", "?"},
        "top": {*module.TOPS, "bare", "?"}, "lower": {"pants", "shorts", "skirt", "none", "?"},
        "hair": {*module.HAIR, "bald", "?"}, "glasses": {"glasses", "sunglasses", "none", "?"},
        "action": {*words_of.ACTIONS, "swinging", "riding", "?"}, "view": {"front", "back", "side", "?"},
        "object": {*words_of.OBJECTS, "glove", "disc", "bar", "camera", "bag", "phone", "none", "?"},
        **dict.fromkeys(("headcolour", "topcolour", "topcolour2", "lowercolour"), colours),
    }  # fmt: skip
    for label in labels.values():
        assert not {name: label[name] for name in words if label[name] not in words[name]}, label["id"]


def test_what_is_no_pack_is_refused(module, tmp_path):
    (tmp_path / "cutouts.json").write_text(json.dumps({"cutouts": []}))
    result = CliRunner().invoke(module.main, [str(tmp_path), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "lsp.json" in result.output
    assert not (tmp_path / "out").exists()
