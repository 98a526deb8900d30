"""Pixels, boxes, keypoints and masks must move together."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from humar_edge.data.geometry import PAD_VALUE, Placement, fit, visible_share
from humar_edge.data.masks import polygon_mask
from humar_edge.keypoints import FLIP

placements = st.builds(
    Placement,
    scale=st.floats(0.3, 2.5),
    shift_x=st.floats(-60, 60),
    shift_y=st.floats(-60, 60),
    flip=st.booleans(),
    width=st.just(120),
    size=st.just(192),
)


@settings(max_examples=60, deadline=None)
@given(place=placements)
def test_a_drawn_rectangle_lands_where_its_corners_say(place: Placement) -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:60, 30:80] = 255
    moved = place.image(image, np.zeros((192, 192, 3), np.uint8))[..., 0] > 127
    polygon = np.array([[30, 20], [80, 20], [80, 60], [30, 60]], np.float32)
    box = place.box(np.array([30, 20, 80, 60], np.float32)).clip(0, 192)
    mask = place.polygons([polygon], 1).astype(bool)
    if (box[2:] - box[:2]).min() < 14:
        return
    rows, columns = np.nonzero(moved)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert np.abs(found - box).max() <= 1.6
    assert (moved & mask).sum() / (moved | mask).sum() > 0.8


@settings(max_examples=60, deadline=None)
@given(place=placements, stride=st.sampled_from([1, 2, 3]))
def test_a_mask_moves_like_its_polygon(place: Placement, stride: int) -> None:
    for x1, y1, x2, y2 in ((30, 20, 80, 60), (0, 0, 120, 90)):
        polygon = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
        moved, expected = place.mask(polygon_mask(polygon, 90, 120), stride), place.polygons([polygon], stride)
        assert moved.shape == expected.shape and moved.dtype == np.uint8
        for axis in (0, 1):  # a centre on the very edge may fall to either side
            assert np.abs(moved.any(axis).astype(int) - expected.any(axis)).sum() <= 2
        if moved.any() and expected.any():
            both = moved[expected.any(1)][:, expected.any(0)]
            assert both[1:-1, 1:-1].all()


@settings(max_examples=60, deadline=None)
@given(place=placements, seed=st.integers(0, 1000))
def test_keypoints_move_like_points_and_vanish_off_the_canvas(place: Placement, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keypoints = np.concatenate([rng.uniform(0, [120, 90], (17, 2)), rng.integers(0, 3, (17, 1))], 1).astype(np.float32)
    moved = place.keypoints(keypoints)
    source = keypoints[list(FLIP)] if place.flip else keypoints
    expected = place.points(source[:, :2])
    inside = ((expected >= 0) & (expected < 192)).all(1) & (source[:, 2] > 0)
    np.testing.assert_allclose(moved[inside, :2], expected[inside], atol=1e-3)
    np.testing.assert_array_equal(moved[inside, 2], source[inside, 2])
    assert not moved[~inside].any()


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 900), height=st.integers(1, 900))
def test_the_letterbox_fits_and_touches_one_side(width: int, height: int) -> None:
    box = fit(width, height, 256).box(np.array([0, 0, width, height], np.float32))
    assert np.allclose(box[:2], 0) and np.isclose(box[2:].max(), 256, atol=1e-3)


def test_the_rest_of_the_canvas_is_grey() -> None:
    canvas = fit(100, 50, 64).image(np.full((50, 100, 3), 200, np.uint8))
    assert (canvas[36:] == PAD_VALUE).all() and (canvas[2:28, 2:60] == 200).all()


def test_shrinking_keeps_the_mean_brightness() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (400, 400, 3), dtype=np.uint8), (0, 0), 3)
    small = fit(400, 400, 64).image(image)
    assert abs(float(small.mean()) - float(image.mean())) < 2


def test_visible_share_counts_the_part_on_the_canvas_and_in_a_region() -> None:
    box = np.array([-10, 0, 10, 20], np.float32)
    assert visible_share(box, 100) == 0.5
    assert visible_share(box, 100, np.array([0, 10, 100, 100])) == 0.25
