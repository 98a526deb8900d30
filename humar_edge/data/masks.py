"""Masks of COCO annotations: polygons and run-length codes, in numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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


def decode_counts(code: str) -> list[int]:
    """Run lengths of a compressed COCO code.

    Every number is written in groups of five bits, lowest first, as characters from '0' on; bit 5 says that more
    groups follow, bit 4 of the last group is the sign. From the fourth run on the difference to the run two before
    is stored.

    Raises:
        DataError: the text ends in the middle of a number or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"{character!r} is not part of a COCO run-length code")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("a COCO run-length code ends in the middle of a number")
    return runs


def rle_mask(rle: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Mask of a COCO run-length code, compressed (text) or not (list of numbers).

    Args:
        rle: dict with `size` [height, width] and `counts`; runs go down the columns and start with the background.
        height: rows that the mask must have.
        width: columns that the mask must have.

    Returns:
        bool [height, width].

    Raises:
        DataError: the code is of another size, or its runs do not add up.
    """
    size = tuple(int(v) for v in rle.get("size", ()))
    if size != (height, width):
        raise DataError(f"a run-length mask of size {list(size)} does not fit a picture of {[height, width]}")
    counts = rle.get("counts", ())
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    runs = np.asarray(decode_counts(counts) if isinstance(counts, str) else counts, dtype=np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(f"the runs of a run-length mask add up to {int(runs.sum())}, not {height}x{width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def encode_runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed COCO run-length code of a mask.

    Args:
        mask: bool [height, width].

    Returns:
        dict with `size` [height, width] and `counts`, a list of ints.
    """
    flat = np.concatenate([[False], np.asarray(mask, dtype=bool).T.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": [int(c) for c in counts]}


def segmentation_mask(segmentation: Sequence[np.ndarray] | dict[str, Any], height: int, width: int) -> np.ndarray:
    """Union of polygons, or the mask of a run-length code, as bool [height, width]."""
    if isinstance(segmentation, dict):
        return rle_mask(segmentation, height, width)
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= polygon_mask(polygon, height, width)
    return mask
