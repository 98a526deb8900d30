"""Masks of COCO annotations: polygons and run-length codes, in numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from humar_edge import rle
from humar_edge.errors import DataError


def polygon_mask(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rasterise one polygon: a pixel is inside when its centre is, by the even-odd rule.

    Each edge toggles, in every pixel row whose centre line it crosses, the pixels to the right of the crossing;
    the running parity along the row is the mask. OpenCV's fillPoly would round the corners to whole pixels and add
    the outline, which makes small people up to a pixel larger on every side.

    Args:
        polygon: float [N, 2], corners (x, y) in pixels; the last corner is joined to the first.
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        bool [height, width].
    """
    start = np.asarray(polygon, dtype=np.float64)
    end = np.roll(start, -1, axis=0)
    upward = start[:, 1] > end[:, 1]
    low, high = np.where(upward[:, None], end, start), np.where(upward[:, None], start, end)
    first = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(start)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    rise = high[edge, 1] - low[edge, 1]
    x = low[edge, 0] + (rows + 0.5 - low[edge, 1]) * (high[edge, 0] - low[edge, 0]) / rise
    columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    toggles = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1)).reshape(height, width + 1)
    inside: np.ndarray = np.bitwise_and(np.cumsum(toggles[:, :width], axis=1), 1).astype(bool)
    return inside


def rle_mask(code: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Mask of a COCO run-length code, compressed (text) or not (list of numbers).

    Args:
        code: dict with `size` [height, width] and `counts`; runs go down the columns and start with the background.
        height: rows that the mask must have.
        width: columns that the mask must have.

    Returns:
        bool [height, width].

    Raises:
        DataError: the code is of another size, or its runs do not add up.
    """
    size, counts = code.get("size"), code.get("counts")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise DataError(f"a run-length mask of size {size} does not fit a picture of {[height, width]}")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    try:
        return np.ascontiguousarray(rle.decode({"size": [height, width], "counts": counts}))
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"a run-length mask is damaged: {error}") from error


def segmentation_mask(segmentation: Sequence[np.ndarray] | dict[str, Any], height: int, width: int) -> np.ndarray:
    """Union of polygons, or the mask of a run-length code, as bool [height, width]."""
    if isinstance(segmentation, dict):
        return rle_mask(segmentation, height, width)
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= polygon_mask(polygon, height, width)
    return mask
