"""Object keypoint similarity of one predicted and one annotated person."""

from __future__ import annotations

import numpy as np

from humar_edge.keypoints import SIGMAS


def oks(predicted: np.ndarray, annotated: np.ndarray, area: float) -> float:
    """OKS as COCO defines it: mean over labelled keypoints of exp(-d² / (2 area (2 sigma)²)).

    Args:
        predicted: float [17, 2 or more], x, y in pixels; further columns are ignored.
        annotated: float [17, 3], x, y in pixels and v; keypoints with v = 0 do not count.
        area: area of the person in square pixels.

    Returns:
        OKS in [0, 1]; 0 when no keypoint is labelled.
    """
    labelled = annotated[:, 2] > 0
    if not labelled.any():
        return 0.0
    distances = ((predicted[:, :2].astype(np.float64) - annotated[:, :2]) ** 2).sum(1)
    variances = (2 * np.asarray(SIGMAS)) ** 2
    exponents = distances / variances / (area + np.spacing(1)) / 2
    return float(np.exp(-exponents[labelled]).mean())
