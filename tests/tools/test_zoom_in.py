"""Close-ups cut out of composed scenes."""

from __future__ import annotations

import numpy as np
import pytest
from composed import people_in
from hypothesis import given
from hypothesis import strategies as st

WIDTH, HEIGHT, LONG_SIDE = 200, 160, 200
seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def module(tool):
    return tool("zoom_in")


def scene():
    return people_in(HEIGHT, WIDTH)


@given(seeds)
def test_a_window_lies_in_the_picture_and_shows_the_head(module, seed):
    person = scene()[seed % 2]
    left, top, width, height = module.window(person, (WIDTH, HEIGHT), np.random.default_rng(seed))
    assert left >= 0 and top >= 0 and left + width <= WIDTH and top + height <= HEIGHT
    assert left <= person["K"][0, 0] <= left + width
    assert top <= person["bbox"][1] + 0.05 * height + 1  # hair may be cut off, faces not


def test_people_are_cut_moved_and_enlarged_alike(module):
    people = scene()
    (found,) = module.seen_through(people, (10, 10, 60, 60), 2.0)
    assert found["bbox"] == [20, 20, 80, 100] and found["cx"] == 60
    assert found["mask"].shape == (120, 120) and found["mask"].sum() == 80 * 100
    np.testing.assert_allclose(found["K"][0], (2 * (40 - 10 + 0.5) - 0.5, 2 * (25 - 10 + 0.5) - 0.5, 2))
    assert (found["K"][:5, 2] == 2).all() and (found["K"][5:] == 0).all()
    assert not found["whole"] and not found["feet_in"] and not found["bag_seen"]
    assert people[0]["mask"].shape == (HEIGHT, WIDTH) and (people[0]["K"][:12, 2] == 2).all()


def test_who_stands_outside_leaves_and_the_others_are_counted_anew(module):
    (found,) = module.seen_through(scene(), (100, 0, 100, 160), 1.0)
    assert found["n"] == 0 and found["hides"] == [] and found["whole"] and found["feet_in"] and found["bag_seen"]
    both = module.seen_through(scene(), (0, 0, WIDTH, HEIGHT), 1.5)
    assert [person["hides"] for person in both] == [[], [0]]


def test_a_window_with_a_sliver_of_somebody_is_not_used(module):
    assert module.seen_through(scene(), (55, 0, 145, 160), 1.0) is None


@given(seeds)
def test_a_close_up_has_the_size_of_its_masks(module, seed):
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    found = module.zoom(image, scene(), np.random.default_rng(seed), LONG_SIDE)
    if found is None:
        return
    closer, people = found
    assert max(closer.shape[:2]) == LONG_SIDE
    for person in people:
        assert person["mask"].shape == closer.shape[:2]
        assert person["h"] <= module.MOST_ENLARGED * person["rec"]["h"]
        left, top, width, height = person["bbox"]
        assert person["mask"][top : top + height, left : left + width].sum() == person["mask"].sum()


def test_a_picture_too_coarse_to_enlarge_is_left_alone(module):
    people = scene()
    for person in people:
        person["rec"] = {"h": 30}
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert module.zoom(image, people, np.random.default_rng(0), LONG_SIDE) is None
