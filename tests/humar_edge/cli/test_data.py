from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.cli.data import command
from humar_edge.errors import DataError

BOX = (20, 10, 60, 110)


def check(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(command, ["check", str(directory), *options])


def problems(directory: Path, *options: str) -> dict[tuple[str, str], int]:
    result = check(directory, "--json", *options)
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)["problems"]
    return {(problem["split"], problem["what"]): problem["count"] for problem in found}


@pytest.fixture
def sound(tmp_path) -> Path:
    for split, name in (("train", "a.png"), ("val", "b.png")):
        pixels = np.random.default_rng(len(split)).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        images = [image(1, "the man in red", name), image(2, "nobody like this", name)]
        write_split(tmp_path, images, [annotation(1, BOX), nobody(2)], {name: pixels}, split)
    return tmp_path


def test_a_sound_data_set(sound):
    result = check(sound)
    assert result.exit_code == 0 and "no problems" in result.output
    statistics = json.loads(check(sound, "--json").stdout)["statistics"]
    assert statistics["val"] == {
        "entries": 2,
        "pictures": 1,
        "absent": 1,
        "captions": 2,
        "captions_per_picture": 2.0,
        "words": {"mean": 3.5, "longest": 4},
        "kinds": {"relation": 0, "position": 0, "colour": 1, "other": 1},
        "sizes": {"small": 0, "medium": 0, "large": 1},
        "keypoints_per_person": 17.0,
        "scribbles": 1,
        "masks": 1,
    }


def test_the_same_photo_in_both_splits_by_name(tmp_path):
    for split in ("train", "val"):
        write_split(tmp_path, [image(1, "a man")], [annotation(1, BOX)], split=split)
    assert problems(tmp_path) == {("train and val", "same photo in both"): 1}


def test_the_same_photo_in_both_splits_under_another_name(sound):
    shutil.copy(sound / "images" / "a.png", sound / "images" / "b.png")
    result = check(sound, "--quick")
    assert result.exit_code == 1 and "a.png = b.png" in result.output


def test_broken_entries_are_problems(tmp_path):
    images = [image(n, "a man") for n in range(1, 5)]
    images[1]["file_name"] = "missing.png"
    people = [annotation(n, BOX) for n in range(1, 5)]
    people[2]["bbox"] = [5, 5, 0, 3]
    people[3]["iscrowd"] = 1
    write_split(tmp_path, images, people)
    assert problems(tmp_path) == {("val", "degenerate box"): 1, ("val", "missing picture"): 1}
    assert json.loads(check(tmp_path, "--json").stdout)["notes"] == {"val": {"crowd annotation": 1}}


def test_pictures_are_decoded_unless_in_a_hurry(tmp_path):
    write_split(tmp_path, [image(1, "a", "a.png"), image(2, "b", "b.png")], [annotation(1, BOX), annotation(2, BOX)])
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "images" / "b.png"), np.zeros((160, 120, 3), np.uint8))
    found = problems(tmp_path)
    assert found[("val", "unreadable picture")] == 1 and len(found) == 2
    assert check(tmp_path, "--quick").exit_code == 0


def test_entries_of_a_picture_that_disagree_on_its_size(tmp_path):
    write_split(tmp_path, [image(1, "a"), image(2, "b", width=320)], [annotation(1, BOX), annotation(2, BOX)])
    assert problems(tmp_path) == {("val", "picture of another size than annotated (upright by EXIF)"): 1}


@pytest.mark.parametrize("field", ["caption", "file_name", "id"])
def test_half_an_emoji_is_one_problem(tmp_path, field):
    images = [image(1, "fine"), image(2, "broken", "missing.png") | {field: "missing \ud83d"}]
    write_split(tmp_path, images, [annotation(1, BOX), annotation(2, BOX)])
    result = check(tmp_path)
    assert result.exit_code == 1 and "entry" in result.output and "1 problems" in result.output


def test_captions_over_the_token_limit(sound, tiny_bundle):
    assert problems(sound, "--token-length", "5") == {
        ("train", "caption over 5 tokens"): 1,
        ("val", "caption over 5 tokens"): 1,
    }
    result = check(sound, "--token-length", "5", "--tokenizer", str(tiny_bundle), "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["tokens_counted_by"] == "tokenizer.json"


def test_input_that_is_no_data_set(tmp_path):
    assert isinstance(check(tmp_path).exception, DataError)
    assert "give the folder" in str(check(tmp_path).exception)
    (tmp_path / "bad.json").write_text("{}")
    write_split(tmp_path, [image(1, "a")], [annotation(1, BOX)])
    assert "not a tokenizer" in str(check(tmp_path, "--tokenizer", str(tmp_path / "bad.json")).exception)
