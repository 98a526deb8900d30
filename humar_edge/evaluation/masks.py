"""Mask overlap: oIoU, mIoU and precision at IoU thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
_EPSILON = 1e-6


def mask_overlap(predicted: np.ndarray, annotated: np.ndarray) -> tuple[int, int]:
    """Pixels in the intersection and in the union of two bool masks [H, W].

    Raises:
        ValueError: the masks differ in size.
    """
    if predicted.shape != annotated.shape:
        raise ValueError(f"predicted mask {predicted.shape} and annotated mask {annotated.shape} differ in size")
    intersection = int(np.count_nonzero(predicted & annotated))
    return intersection, int(np.count_nonzero(predicted)) + int(np.count_nonzero(annotated)) - intersection


def mask_iou(intersection: float, union: float) -> float:
    """IoU with the paper's guard for empty masks: (I + 1e-6) / (U + 1e-6)."""
    return (intersection + _EPSILON) / (union + _EPSILON)


def mask_summary(overlaps: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Figures over all entries.

    Args:
        overlaps: (intersection, union) of every entry, at least one.

    Returns:
        `oIoU` (sum of intersections over sum of unions), `mIoU`, and `P@0.5` ... `P@0.9` (share with a larger IoU).
    """
    counts = np.asarray(overlaps, dtype=np.float64)
    ious = (counts[:, 0] + _EPSILON) / (counts[:, 1] + _EPSILON)
    figures = {"oIoU": float(mask_iou(counts[:, 0].sum(), counts[:, 1].sum())), "mIoU": float(ious.mean())}
    return figures | {f"P@{threshold}": float((ious > threshold).mean()) for threshold in THRESHOLDS}
