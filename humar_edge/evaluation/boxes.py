"""Box overlap; Acc@0.5 is the share of entries whose box overlaps by at least one half."""

from __future__ import annotations

import numpy as np


def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes, float [4] as x1, y1, x2, y2; 0 when both are empty."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = float(sides.prod())
    union = float(np.clip(a[2:] - a[:2], 0, None).prod() + np.clip(b[2:] - b[:2], 0, None).prod()) - shared
    return shared / union if union > 0 else 0.0
