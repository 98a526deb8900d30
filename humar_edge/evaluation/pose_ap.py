"""Pose average precision by COCO's keypoint evaluation (faster-coco-eval)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from humar_edge.errors import MissingExtraError
from humar_edge.keypoints import NAMES, SIGMAS

FIGURES = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
"""The ten figures of COCO's keypoint summary, in its order; medium and large are COCO's areas in square pixels."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One annotated person and the one predicted for the same entry.

    Attributes:
        annotated: float [17, 3], x, y in pixels and v in {0, 1, 2}.
        area: annotated area in square pixels.
        bbox: float [4], annotated x, y, width, height in pixels.
        predicted: float [17, 2 or more], x, y in pixels.
        score: rank of the prediction among those of all entries.
    """

    annotated: np.ndarray
    area: float
    bbox: np.ndarray
    predicted: np.ndarray
    score: float


def pose_ap(poses: Sequence[Pose]) -> dict[str, float | None]:
    """AP and AR over OKS thresholds 0.5 ... 0.95.

    Every entry counts as an image of its own with one person and one detection, as in UniPHD's evaluation restricted
    to the top-ranked query, which is what a deployed engine returns.

    Args:
        poses: at least one.

    Returns:
        The figures named in `FIGURES`, in [0, 1]; None where no person is of that size.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    evaluator = _run([_annotation(number, pose) for number, pose in enumerate(poses, start=1)], poses)
    return {name: _figure(value) for name, value in zip(FIGURES, evaluator.stats, strict=False)}


def precision_recall(poses: Sequence[Pose], thresholds: Sequence[float] = (0.5, 0.75, 0.9)) -> dict[float, np.ndarray]:
    """Interpolated precision at recall 0, 0.01, ... 1 for some OKS thresholds.

    Returns:
        threshold -> float [101], precision in [0, 1].
    """
    evaluator = _run([_annotation(number, pose) for number, pose in enumerate(poses, start=1)], poses)
    precision = np.asarray(evaluator.eval["precision"])[:, :, 0, 0, -1]
    rows = [int(np.argmin(np.abs(evaluator.params.iouThrs - threshold))) for threshold in thresholds]
    return {threshold: precision[row] for threshold, row in zip(thresholds, rows, strict=True)}


def _annotation(number: int, pose: Pose) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "area": float(pose.area),
        "bbox": [float(value) for value in pose.bbox],
        "keypoints": pose.annotated.astype(np.float64).ravel().tolist(),
        "num_keypoints": int((pose.annotated[:, 2] > 0).sum()),
    }


def _run(annotations: list[dict[str, Any]], poses: Sequence[Pose]) -> Any:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise MissingExtraError("faster-coco-eval", "eval") from error
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": number} for number in range(1, len(poses) + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES)}],
    }
    truth.createIndex()
    answers = truth.loadRes(
        [
            {
                "image_id": number,
                "category_id": 1,
                "score": float(pose.score),
                "keypoints": np.c_[pose.predicted[:, :2], np.ones(len(NAMES))].astype(np.float64).ravel().tolist(),
            }
            for number, pose in enumerate(poses, start=1)
        ]
    )
    evaluator = COCOeval_faster(
        truth, answers, iouType="keypoints", kpt_oks_sigmas=list(SIGMAS), print_function=lambda *_: None
    )
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


def _figure(value: float) -> float | None:
    # COCO's summary says -1 where there is nothing to average.
    return None if value < 0 else float(value)
