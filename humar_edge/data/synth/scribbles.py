"""Scribbles as annotators draw them: strokes of twelve points inside the mask."""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator

STROKES, POINTS = 5, 12


def _core(mask: np.ndarray) -> np.ndarray:
    """The mask without its rim, so that strokes keep off the edge; the mask itself if it is too thin."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    for size in (7, 5, 3):
        core = cv2.erode(padded, np.ones((size, size), np.uint8))[1:-1, 1:-1]
        if core.sum() > 50:
            return core > 0
    return mask


def scribbles(mask: np.ndarray, rng: Rng) -> list[list[list[int]]] | None:
    """Five strokes of twelve integer (x, y) points, all inside the mask (spec section 16: cubic Bezier, top to bottom).

    Args:
        mask: bool [H, W].
        rng: random generator.

    Returns:
        Nested lists 5 x 12 x 2, or None for an empty mask.
    """
    if not mask.any():
        return None
    core = _core(mask)
    rows, columns = np.nonzero(core)
    inside = np.stack([columns, rows], 1)
    _, label = cv2.distanceTransformWithLabels(
        1 - core.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    closest = np.zeros((int(label.max()) + 1, 2), np.int64)
    closest[label[rows, columns]] = inside
    t = np.linspace(0, 1, POINTS)[:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    strokes = []
    for _ in range(STROKES):
        anchors = inside[rng.integers(len(inside), size=4)]
        anchors = anchors[np.argsort(anchors[:, 1], kind="stable")]
        points = (basis @ anchors).astype(np.int64)  # between four points inside, so inside the picture
        strokes.append(closest[label[points[:, 1], points[:, 0]]].tolist())
    return strokes
