from __future__ import annotations

import numpy as np
import pytest

from humar_edge import rle
from humar_edge.data.masks import polygon_mask, rle_mask, segmentation_mask
from humar_edge.errors import DataError


def test_a_rectangle_covers_exactly_its_pixels():
    mask = polygon_mask(np.array([(2, 1), (5, 1), (5, 4), (2, 4)]), 6, 8)
    assert mask.dtype == bool and mask.shape == (6, 8)
    assert mask[1:4, 2:5].all() and mask.sum() == 9


def test_the_orientation_and_closing_of_a_polygon_do_not_matter():
    corners = np.array([(1.2, 0.7), (9.1, 3.3), (4.4, 8.8)])
    mask = polygon_mask(corners, 10, 10)
    assert mask.any()
    assert np.array_equal(mask, polygon_mask(corners[::-1], 10, 10))
    assert np.array_equal(mask, polygon_mask(np.vstack([corners, corners[:1]]), 10, 10))


def test_pixels_are_inside_by_their_centre():
    corners = np.array([(1.2, 0.7), (9.1, 3.3), (4.4, 8.8)])
    mask = polygon_mask(corners, 10, 10)
    y, x = np.mgrid[:10, :10] + 0.5
    after = np.roll(corners, -1, axis=0)
    sides = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in zip(corners, after, strict=True)]
    assert np.array_equal(mask, np.all(np.array(sides) > 0, axis=0))


def test_polygons_that_leave_the_picture_are_cut():
    mask = polygon_mask(np.array([(-5, -5), (20, -5), (20, 3), (-5, 3)]), 6, 8)
    assert mask[:3].all() and mask.sum() == 24


def test_polygons_of_one_person_are_united():
    squares = tuple(np.array([(x, 0), (x + 4, 0), (x + 4, 4), (x, 4)], dtype=float) for x in (0, 2))
    assert segmentation_mask(squares, 4, 10)[:, :6].all()


def test_agrees_with_coco_up_to_the_outline():
    coco_mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 30))
    radius = rng.uniform(20, 45, 30)
    polygon = np.stack([50 + radius * np.cos(angles), 50 + radius * np.sin(angles)], 1)
    theirs = coco_mask.decode(coco_mask.frPyObjects([polygon.ravel().tolist()], 100, 100))[..., 0].astype(bool)
    ours = polygon_mask(polygon, 100, 100)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98
    assert abs(int(ours.sum()) - int(theirs.sum())) < 0.01 * theirs.sum()


@pytest.mark.parametrize("compressed", [True, False])
def test_run_length_codes(compressed):
    mask = np.random.default_rng(1).random((13, 17)) > 0.6
    code = rle.encode(mask) if compressed else {"size": [13, 17], "counts": rle.run_lengths(mask)}
    assert np.array_equal(rle_mask(code, 13, 17), mask)


@pytest.mark.parametrize(
    "code",
    [
        {"size": [4, 5], "counts": [20]},
        {"size": [5, 4], "counts": [19]},
        {"size": [5, 4], "counts": [25, -5]},
        {"size": [5, 4], "counts": "P"},
        {"size": [5, 4], "counts": None},
        {"size": 3, "counts": [20]},
        {},
    ],
)
def test_damaged_run_length_codes_are_errors(code):
    with pytest.raises(DataError, match="run-length"):
        rle_mask(code, 5, 4)
