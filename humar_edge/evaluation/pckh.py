"""PCKh@0.5 as in UniPHD: share of keypoints within half a head size, the head being measured from ear to ear."""

from __future__ import annotations

import numpy as np

LEFT_EAR, RIGHT_EAR = 3, 4


def pckh_counts(predicted: np.ndarray, annotated: np.ndarray, threshold: float = 0.5) -> tuple[int, int]:
    """Correct and counted keypoints of one person.

    Args:
        predicted: float [17, 2 or more], x, y in pixels.
        annotated: float [17, 3], x, y in pixels and v.
        threshold: largest error, as a share of the distance between the ears.

    Returns:
        (correct, counted); (0, 0) unless both ears are labelled at different places.
    """
    if annotated[LEFT_EAR, 2] <= 0 or annotated[RIGHT_EAR, 2] <= 0:
        return 0, 0
    head = float(np.linalg.norm(annotated[LEFT_EAR, :2].astype(np.float64) - annotated[RIGHT_EAR, :2]))
    if head == 0:
        return 0, 0
    labelled = annotated[:, 2] > 0
    errors = np.linalg.norm(predicted[:, :2].astype(np.float64) - annotated[:, :2], axis=1)
    return int((errors[labelled] <= threshold * head).sum()), int(labelled.sum())
