from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import humar_edge
from humar_edge import Person, rle

SCHEMA = json.loads((Path(humar_edge.__file__).parent / "assets" / "person.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def person():
    keypoints = np.arange(51, dtype=np.float32).reshape(17, 3) / 51
    mask = np.zeros((48, 64), dtype=bool)
    mask[10:20, 5:30] = True
    box = np.array([5, 10, 30, 20], dtype=np.float32)
    return Person("the man", True, 0.87654321, box, keypoints, (48, 64), mask_source=lambda: mask)


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_records_follow_the_schema(person, found, mask):
    jsonschema = pytest.importorskip("jsonschema")
    person = replace(person, found=found, timings={"inference": 1.5}, track={"state": "held"})
    record = person.to_record(source="a.mp4", frame=3, time_s=0.12, mask=mask)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(record)), SCHEMA)
    assert (record["box_xyxy"] is not None) == (record["keypoints"] is not None) == found
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "score": 2}, SCHEMA)


def test_to_dict(person):
    data = person.to_dict(mask=True)
    assert data["score"] == 0.8765 and data["box_xyxy"] == [5, 10, 30, 20] and len(data["keypoints"]) == 17
    np.testing.assert_array_equal(rle.decode(data["mask"]), person.mask)
    assert "mask" not in person.to_dict()


def test_to_coco_ranks_people_below_the_threshold_too(person):
    for entry in (person.to_coco(7), replace(person, found=False).to_coco(7)):
        assert entry["image_id"] == 7 and entry["category_id"] == 1 and entry["bbox"] == [5, 10, 25, 10]
        assert len(entry["keypoints"]) == 51 and rle.decode(entry["segmentation"]).sum() == 250
        json.dumps(entry)
    assert "segmentation" not in person.to_coco(7, mask=False)


def test_the_mask_is_computed_once_and_only_when_asked_for(person):
    calls = []
    lazy = replace(person, mask_source=lambda: calls.append(1) or np.ones((48, 64), dtype=bool))
    lazy.to_dict()
    assert not calls
    assert lazy.mask.all() and lazy.mask is lazy.mask and len(calls) == 1
    assert not replace(person, mask_source=None).mask.any()


def test_frozen_and_checked(person):
    with pytest.raises(FrozenInstanceError):
        person.score = 1.0
    with pytest.raises(ValueError, match=r"keypoints must have shape \[17, 3\]"):
        replace(person, keypoints=np.zeros((17, 2)))
