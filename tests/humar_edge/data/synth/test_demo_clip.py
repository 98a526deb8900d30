from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

ASSETS = Path(str(resources.files("humar_edge.assets")))
RED_IN_HSV = lambda hue: (hue < 8) | (hue > 172)  # noqa: E731
SHIRT = {
    "walker": RED_IN_HSV,
    "waver": lambda hue: (hue > 100) & (hue < 130),
    "stander": lambda hue: (hue > 40) & (hue < 80),
}


@pytest.fixture(scope="module")
def truth() -> dict:
    return json.loads((ASSETS / "demo.json").read_text())


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(ASSETS / "demo.mp4")), []
    while True:
        good, frame = capture.read()
        if not good:
            return found
        found.append(frame)


def test_the_clip_is_small_and_as_long_as_its_truth(truth: dict, frames: list[np.ndarray]):
    assert (ASSETS / "demo.mp4").stat().st_size < 1_500_000
    assert len(frames) == truth["frames"] == 144
    assert frames[0].shape == (truth["height"], truth["width"], 3)
    assert all(len(person["frames"]) == truth["frames"] for person in truth["people"])


def test_each_person_wears_the_described_colour_where_the_truth_says(truth: dict, frames: list[np.ndarray]):
    for person in truth["people"]:
        for number in range(0, truth["frames"], 24):
            row = person["frames"][number]
            keypoints = np.array(row["keypoints"]).reshape(17, 3)
            x, y, w, h = row["box"]
            assert w > 15 and h > 100 and x + w <= truth["width"] and y + h <= truth["height"]
            seen = keypoints[keypoints[:, 2] == 2]
            assert (seen[:, 0] > x - 6).all() and (seen[:, 0] < x + w + 6).all()
            hsv = cv2.cvtColor(frames[number][y : y + h, x : x + w], cv2.COLOR_BGR2HSV).astype(int)
            shirt = SHIRT[person["name"]](hsv[..., 0]) & (hsv[..., 1] > 120) & (hsv[..., 2] > 60)
            assert shirt.mean() > 0.03


def test_people_move_smoothly(truth: dict):
    for person in truth["people"]:
        points = np.array([frame["keypoints"] for frame in person["frames"]]).reshape(-1, 17, 3)
        hips = points[:, 11:13, :2].mean(1)
        assert np.abs(np.diff(hips, axis=0)).max() < 12


def test_somebody_is_hidden_for_a_while(truth: dict):
    walker = next(person for person in truth["people"] if person["name"] == "walker")
    areas = [frame["area"] for frame in walker["frames"]]
    assert min(areas) < 0.5 * max(areas)
