"""Layouts of scenes, and things in front of people."""

from __future__ import annotations

import numpy as np
import pytest
from composed import people_in
from hypothesis import given
from hypothesis import strategies as st

WIDTH, HEIGHT = 200, 160
seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def module(tool):
    return tool("closer_scenes")


def records(count, full_body=True):
    return [{"h": 384, "full_body": full_body} for _ in range(count)]


def scene():
    return people_in(HEIGHT, WIDTH)


@given(seeds, st.integers(1, 5), st.booleans(), st.sampled_from(["close", "deep", "group", "far"]))
def test_everybody_is_in_the_picture_and_none_is_magnified_too_far(module, seed, count, full_body, name):
    placed = getattr(module, name)(records(count, full_body), WIDTH, HEIGHT, np.random.default_rng(seed))
    assert len(placed) == count
    for record, height, foot, x in placed:
        assert 0 < height <= module.MOST_ENLARGED * record["h"]
        assert foot > 0 and -0.2 * WIDTH < x < 1.2 * WIDTH
        assert foot - height < 0.8 * HEIGHT or not full_body
        assert full_body or foot >= HEIGHT
    assert [person[2] for person in placed] == sorted(person[2] for person in placed)


@given(seeds)
def test_close_people_are_cut_off_by_the_lower_edge(module, seed):
    placed = module.close(records(2), WIDTH, HEIGHT, np.random.default_rng(seed))
    assert all(height > 0.85 * HEIGHT for _, height, _, _ in placed)
    assert max(foot for _, _, foot, _ in placed) > HEIGHT


@given(seeds)
def test_far_people_are_small_and_stand_on_the_ground_of_the_picture(module, seed):
    placed = module.far([*records(3), *records(2, full_body=False)], WIDTH, HEIGHT, np.random.default_rng(seed))
    assert len(placed) == 3  # nobody without feet
    assert all(0.07 * HEIGHT < height < 0.55 * HEIGHT for _, height, _, _ in placed)
    assert all(0.2 * HEIGHT < foot < 1.4 * HEIGHT for _, _, foot, _ in placed)


def test_layouts_are_drawn_by_their_weights(module):
    drawn = [0, 0]
    layout = module.mixed(lambda *_: "street", [1, 0, 1, 1, 1])
    for seed in range(200):
        drawn[layout(records(2), WIDTH, HEIGHT, np.random.default_rng(seed)) == "street"] += 1
    assert 30 < drawn[1] < 70


def test_what_is_covered_is_taken_from_masks_joints_boxes_and_bags(module):
    people = scene()
    cover = np.zeros((HEIGHT, WIDTH), bool)
    cover[90:, :80] = True
    assert module.hide(people, cover)
    hidden, other = people
    assert hidden["bbox"] == [20, 20, 40, 70] and not hidden["mask"][90:].any()
    assert (hidden["K"][:7, 2] == 2).all() and (hidden["K"][7:12, 2] == 1).all() and (hidden["K"][12:] == 0).all()
    assert not hidden["whole"] and not hidden["bag_seen"]
    assert (
        other["bbox"] == [120, 20, 40, 120] and other["whole"] and other["bag_seen"] and (other["K"][:12, 2] == 2).all()
    )


@pytest.mark.parametrize("rows", [slice(40, None), slice(20, 120)])
def test_nobody_is_hidden_by_more_than_a_caption_can_bear(module, rows):
    cover = np.zeros((HEIGHT, WIDTH), bool)
    cover[rows, :80] = True
    assert not module.hide(scene(), cover)


@given(seeds)
def test_a_thing_in_front_is_drawn_where_people_lose_pixels(module, seed):
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    photo = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
    found = module.put_in_front(image, scene(), photo, rng)
    if found is None:
        return
    drawn, people = found
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    for before, after in zip(scene(), people, strict=True):
        assert after["mask"].sum() >= 0.3 * before["full"].sum() and not (after["mask"] & ~before["mask"]).any()
        left, top, width, height = after["bbox"]
        assert after["mask"][top : top + height, left : left + width].sum() == after["mask"].sum()
