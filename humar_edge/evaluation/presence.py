"""How well the score says whether the person is in the picture at all."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 10


def auroc(scores: np.ndarray, present: np.ndarray) -> float | None:
    """Area under the ROC curve: chance that a present person scores higher than an absent one, ties counting half.

    Args:
        scores: float [N].
        present: bool [N].

    Returns:
        AUROC in [0, 1]; None unless there are both present and absent entries.
    """
    positives = int(present.sum())
    negatives = len(present) - positives
    if not positives or not negatives:
        return None
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    wins = ranks[group][present].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def f1_at(scores: np.ndarray, present: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of "present" when the score is at least the threshold."""
    said = scores >= threshold
    right = int((said & present).sum())
    precision = right / max(int(said.sum()), 1)
    recall = right / max(int(present.sum()), 1)
    f1 = 2 * right / max(int(said.sum()) + int(present.sum()), 1)
    return {"threshold": float(threshold), "precision": precision, "recall": recall, "f1": f1}


def best_f1(scores: np.ndarray, present: np.ndarray) -> dict[str, float]:
    """Like `f1_at`, at the score among those given that makes F1 largest."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(present[order])
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + max(int(present.sum()), 1))
    # Entries of equal score are accepted together, so only the last of each run is a possible cut.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    return f1_at(scores, present, float(ranked[int(np.argmax(f1))]))


def calibration(scores: np.ndarray, present: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Reliability of the score as a probability.

    Returns:
        `curve`: list of {`score`: mean score, `present`: share present, `count`} for every bin that is not empty;
        `ece`: expected calibration error, the mean gap between the two, weighted by count.
    """
    index = np.clip((scores * bins).astype(int), 0, bins - 1)
    curve = [
        {"score": float(scores[chosen].mean()), "present": float(present[chosen].mean()), "count": int(chosen.sum())}
        for chosen in (index == number for number in range(bins))
        if chosen.any()
    ]
    gap = sum(abs(point["score"] - point["present"]) * point["count"] for point in curve)
    return {"curve": curve, "ece": gap / max(len(scores), 1)}


def presence_summary(scores: np.ndarray, present: np.ndarray, threshold: float) -> dict[str, Any] | None:
    """All presence figures; None when every entry is present or every one is absent.

    Args:
        scores: float [N], in [0, 1].
        present: bool [N].
        threshold: score from which the person counts as found.
    """
    area = auroc(scores, present)
    if area is None:
        return None
    return {
        "entries": len(scores),
        "absent": int((~present).sum()),
        "AUROC": area,
        "F1": f1_at(scores, present, threshold),
        "best_F1": best_f1(scores, present),
        "calibration": calibration(scores, present),
    }
