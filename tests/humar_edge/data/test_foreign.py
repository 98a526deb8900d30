"""People and captions of other pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from refhuman_factory import annotation, image, nobody, write_split

from humar_edge.data.entries import Entry
from humar_edge.data.foreign import definite_words, foreign_negative, is_distinct, paste_person
from humar_edge.data.refhuman import RefHumanIndex

BLUE, RED = (220, 70, 40), (40, 40, 220)


@pytest.fixture
def pictures(tmp_path: Path) -> list[list[Entry]]:
    """One grey picture with a person in blue (and captions about places and nobody), one with a person in red."""
    frames = {}
    for name, colour, left in (("a.png", BLUE, 10), ("b.png", RED, 100)):
        frames[name] = np.full((120, 160, 3), 128, np.uint8)
        cv2.rectangle(frames[name], (left, 20), (left + 29, 99), colour, -1)
    box, other = (10, 20, 40, 100), (100, 20, 130, 100)
    images = [
        image(1, "man in blue overalls", "a.png"),
        image(2, "man on the left", "a.png"),
        image(3, "lady with a violin", "a.png"),
        image(4, "woman in red dungarees", "b.png"),
        image(5, "woman on the right", "b.png"),
    ]
    annotations = [annotation(1, box), annotation(2, box), nobody(3), annotation(4, other), annotation(5, other)]
    entries = RefHumanIndex.load(write_split(tmp_path, images, annotations, frames)).entries
    return [entries[:3], entries[3:]]


def test_distinct_captions() -> None:
    assert definite_words(["A man in a Blue shirt"]) == {"blue"}
    assert is_distinct("woman in red dungarees", ["man in blue overalls"])
    assert not is_distinct("woman in red shirt", ["man in blue overalls"])  # one definite word only
    assert not is_distinct("red and yellow coat on the left", ["man in blue"])  # speaks of a place
    assert not is_distinct("red dungarees", ["man in red dungarees"])


def test_a_foreign_caption_fits_nobody(pictures: list[list[Entry]]) -> None:
    here, there = pictures
    rng = np.random.default_rng(0)
    (made,) = foreign_negative(here, there, rng)
    assert made.absent and made.caption == "woman in red dungarees" and made.image_path == here[0].image_path
    assert not made.bbox.any() and made.scribble is None and not made.has_mask
    assert foreign_negative(here, here, rng) == []
    assert foreign_negative(here, [entry for entry in there if "right" in entry.caption], rng) == []


def test_a_pasted_person_comes_with_everything(pictures: list[list[Entry]]) -> None:
    here, there = pictures
    frame = np.full((120, 160, 3), 128, np.uint8)
    for seed in range(10):
        result, entries = paste_person(frame, list(here), there, np.random.default_rng(seed))
        if len(entries) > 1 and entries[-1].caption.startswith("woman"):
            break
    captions = [entry.caption for entry in entries]
    # captions about places are no longer sure, the one for nobody still is
    assert captions == ["man in blue overalls", "lady with a violin", "woman in red dungarees"]
    new = entries[-1]
    x1, y1, x2, y2 = new.box_xyxy
    assert 0 <= x1 < x2 <= 160 and 0 <= y1 and y2 == pytest.approx(100, abs=1e-3)  # on the ground of the other
    red = (result[..., 0] > 180) & (result[..., 2] < 90)  # RGB
    rows, columns = np.nonzero(red)
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(edges - new.box_xyxy).max() < 2.5
    overlap = new.mask() & red
    assert overlap.sum() / (new.mask() | red).sum() > 0.9
    inside = new.keypoints[:, :2]
    assert (inside >= [x1, y1]).all() and (inside <= [x2, y2]).all() and new.keypoints[:, 2].all()
    assert new.scribble is not None and new.mask()[new.scribble[..., 1], new.scribble[..., 0]].all()
    assert new.area == pytest.approx((x2 - x1) * (y2 - y1), rel=0.01)
    covered = np.clip(np.minimum(new.box_xyxy[2:], here[0].box_xyxy[2:]) - np.maximum([x1, y1], [10, 20]), 0, None)
    assert covered.prod() <= 0.1 * 30 * 80 + 1e-3


def test_nothing_is_pasted_where_the_newcomer_is_described_alike(pictures: list[list[Entry]]) -> None:
    here, _ = pictures
    frame = np.zeros((120, 160, 3), np.uint8)
    result, entries = paste_person(frame, list(here), list(here), np.random.default_rng(0))
    assert result is frame and entries == list(here)


def test_nobody_is_pasted_from_a_picture_of_another_size(pictures: list[list[Entry]]) -> None:
    here, there = pictures
    frame = np.zeros((120, 160, 3), np.uint8)
    cv2.imwrite(str(there[0].image_path), np.zeros((60, 80, 3), np.uint8))
    for seed in range(10):
        result, entries = paste_person(frame, list(here), there, np.random.default_rng(seed))
        assert result is frame and entries == list(here)
