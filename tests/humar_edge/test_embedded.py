"""The embedded bundle does the main job on the shipped clip, from words and from points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from humar_edge import HumarEdge

ASSETS = Path(str(resources.files("humar_edge.assets")))
EVERY = 16
WHO = {"man in red": "walker", "woman in blue": "waver", "person in green": "stander", "person on the right": "stander"}


@pytest.fixture(scope="module")
def humar() -> Iterator[HumarEdge]:
    with HumarEdge(threads=1) as humar:
        yield humar


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, dict[str, tuple[int, int, int, int]]]]:
    """Every 16th frame of the clip, and the box of everybody in it."""
    people = json.loads((ASSETS / "demo.json").read_text())["people"]
    capture, found = cv2.VideoCapture(str(ASSETS / "demo.mp4")), []
    for number in range(len(people[0]["frames"])):
        good, frame = capture.read()
        assert good
        if number % EVERY == 0:
            found.append((frame, {person["name"]: person["frames"][number]["box"] for person in people}))
    return found


def overlap(box: np.ndarray, truth: tuple[int, int, int, int]) -> float:
    x, y, width, height = truth
    corner, end = np.maximum(box[:2], (x, y)), np.minimum(box[2:], (x + width, y + height))
    shared = np.prod((end - corner).clip(0))
    return float(shared / (np.prod(box[2:] - box[:2]) + width * height - shared))


@pytest.mark.parametrize("text", WHO)
def test_words_find_the_person_they_mean(humar: HumarEdge, scenes: list, text: str) -> None:
    people = [(humar.predict(frame, text=text), boxes[WHO[text]]) for frame, boxes in scenes]
    right = sum(person.found and overlap(person.box_xyxy, truth) > 0.5 for person, truth in people)
    assert right >= 0.7 * len(scenes)


@pytest.mark.parametrize("name", ["waver", "stander"])
def test_a_point_finds_the_person_it_lies_on(humar: HumarEdge, scenes: list, name: str) -> None:
    frame, boxes = scenes[0]
    x, y, width, height = boxes[name]
    person = humar.predict(frame, points=(x + width / 2, y + height * 0.35))
    assert person.found and overlap(person.box_xyxy, boxes[name]) > 0.5


def test_nobody_is_found_in_an_empty_picture(humar: HumarEdge) -> None:
    assert not humar.predict(np.full((480, 640, 3), 127, np.uint8), text="man in red").found


@pytest.mark.parametrize("engine", ["vision", "positional"])
def test_older_cpus_multiply_it_without_saturation(engine: str) -> None:
    """Whatever CPU runs this test: see `humar_edge.export.graph.MULTIPLIED_LEVELS`."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(ASSETS / "edge-lite" / f"{engine}.onnx"))
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    multiplied = [value for name, value in weights.items() if name.endswith("_int8")]
    assert len(multiplied) > 100 and all(np.abs(value.astype(int)).max() <= 64 for value in multiplied)
