from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import Letterbox

CANVAS = (96, 128)
side = st.integers(1, 2000)


@given(st.tuples(side, side), st.integers(0, 1000))
def test_boxes_and_keypoints_come_back_in_source_pixels(source, seed):
    rng = np.random.default_rng(seed)
    letterbox = Letterbox.fit(source, CANVAS)
    corners = np.sort(rng.random((2, 2)), axis=0) * source[::-1]
    low, high = letterbox.to_canvas(corners)
    box = np.concatenate([(low + high) / 2, high - low])[None].astype(np.float32)
    np.testing.assert_allclose(decode_box(box, letterbox), corners.ravel(), atol=1e-3 * max(1, max(source) / 1000))
    points = rng.random((17, 2)) * source[::-1]
    outputs = np.concatenate([letterbox.to_canvas(points), np.full((17, 1), 0.5)], axis=1)[None].astype(np.float32)
    decoded = decode_keypoints(outputs, letterbox)
    np.testing.assert_allclose(decoded[:, :2], points, atol=1e-3 * max(1, max(source) / 1000))
    assert decoded.dtype == np.float32 and (decoded[:, 2] == 0.5).all()


def test_a_box_is_clipped_to_the_frame():
    letterbox = Letterbox.fit((100, 100), CANVAS)
    np.testing.assert_array_equal(decode_box(np.array([[0.5, 0.5, 4, 4]], np.float32), letterbox), [0, 0, 100, 100])


@given(st.tuples(st.integers(8, 900), st.integers(8, 900)))
@settings(max_examples=50)
def test_a_mask_edge_lies_where_the_logits_cross_zero(source):
    letterbox = Letterbox.fit(source, CANVAS)
    # A ramp over the canvas that is zero at 40% of the content's width, sampled at the cells' centres.
    content_w = letterbox.content_size[1] / 4
    ramp = 0.4 * content_w - (np.arange(32) + 0.5)
    logits = np.tile(ramp.astype(np.float32), (1, 24, 1))
    height, width = source
    mask = decode_mask(logits, np.array([0, 0, width, height], np.float32), letterbox)
    assert mask.shape == source
    if content_w >= 2:  # less has its crossing outside the first and last centre, where the ramp is cut off
        # OpenCV interpolates in steps of 1/32 cell.
        cell = width / content_w
        assert abs(mask.sum(axis=1) - 0.4 * width).max() <= 0.5 + cell / 16 + 1e-6


def test_the_padding_has_no_influence_and_the_box_bounds_the_mask():
    letterbox = Letterbox.fit((400, 100), CANVAS)  # content 96 x 24, padding to the right of it
    logits = np.full((1, 24, 32), -5, dtype=np.float32)
    logits[:, :, :6] = 5
    logits[:, :, 6:] = -1e6
    mask = decode_mask(logits, np.array([0, 0, 100, 400], np.float32), letterbox)
    assert mask.all()
    part = decode_mask(logits, np.array([40, 200, 60, 240], np.float32), letterbox)
    ys, xs = np.nonzero(part)
    assert xs.min() >= 40 - 2 - 18 and xs.max() <= 60 + 2 + 18 and ys.min() >= 200 - 4 - 18 and ys.max() < 240 + 4 + 18
    np.testing.assert_array_equal(part[200:240, 40:60], mask[200:240, 40:60])


@pytest.mark.parametrize("size", [(1, 1), (2, 40000), (40000, 2)])
def test_extreme_frames(size):
    letterbox = Letterbox.fit(size, CANVAS)
    box = np.array([0, 0, size[1], size[0]], dtype=np.float32)
    assert decode_mask(np.ones((1, 24, 32), np.float32), box, letterbox).all()
    assert not decode_mask(-np.ones((1, 24, 32), np.float32), box, letterbox).any()


def test_an_empty_box_outside_gives_an_empty_mask():
    letterbox = Letterbox.fit((100, 100), CANVAS)
    mask = decode_mask(np.ones((1, 24, 32), np.float32), np.array([-900, -900, -800, -800], np.float32), letterbox)
    assert not mask.any() and mask.shape == (100, 100)
