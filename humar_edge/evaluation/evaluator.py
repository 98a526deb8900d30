"""Collects predictions and sums them up; used by `humar-edge val` and by validation during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from humar_edge import rle
from humar_edge.data.entries import Entry
from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.kinds import KINDS, caption_kind
from humar_edge.evaluation.masks import mask_iou, mask_overlap, mask_summary
from humar_edge.evaluation.oks import oks
from humar_edge.evaluation.pckh import pckh_counts
from humar_edge.evaluation.pose_ap import Pose, pose_ap
from humar_edge.evaluation.presence import presence_summary

SIZES: dict[str, float] = {"small": 0.05, "medium": 0.15, "large": float("inf")}
"""Size -> share of the picture that the person's box stays below."""

_OUTSIDE = -1e6


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says about one entry, in pixels of the entry's picture.

    Attributes:
        score: probability in [0, 1] that the person is present.
        box_xyxy: float [4].
        keypoints: float [17, 2 or more], x, y first.
        mask: bool [H, W] of the picture, the best guess even when the score is low; None if the model has no masks.
        inference_ms: time of the inference stage, None if not measured.
    """

    score: float
    box_xyxy: np.ndarray
    keypoints: np.ndarray
    mask: np.ndarray | None = None
    inference_ms: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """One entry compared with its prediction.

    Attributes:
        entry: the entry.
        score: predicted probability of presence.
        kind: kind of the caption.
        size: size of the person; None when absent.
        pose: annotated and predicted keypoints; None when absent.
        box_xyxy: float32 [4], predicted.
        oks: similarity of the keypoints.
        box_iou: overlap of the boxes.
        overlap: intersection and union of the masks in pixels; None without an annotated or predicted mask.
        pckh: correct and counted keypoints.
        mask: run-length code of the predicted mask, where the evaluator keeps it.
    """

    entry: Entry
    score: float
    kind: str
    box_xyxy: np.ndarray
    keypoints: np.ndarray
    size: str | None = None
    pose: Pose | None = None
    oks: float = 0.0
    box_iou: float = 0.0
    overlap: tuple[int, int] | None = None
    pckh: tuple[int, int] = (0, 0)
    mask: dict[str, Any] | None = None

    @property
    def quality(self) -> float:
        """Mean of the overlaps and the OKS, to sort pictures from worst to best."""
        parts = [self.oks, self.box_iou] + ([mask_iou(*self.overlap)] if self.overlap else [])
        return float(np.mean(parts))


@dataclass
class Evaluator:
    """Gathers predictions entry by entry.

    Geometry (pose, box, mask) is measured on entries whose person is present, on the one predicted person and
    whatever its score. Presence is measured on all entries.

    Attributes:
        threshold: score from which the person counts as found, for F1.
        keep_masks: whether outcomes keep the predicted masks, for pictures.
        outcomes: what was gathered, in order.
        times_ms: measured times of the inference stage.
        not_finite: number of predictions that held NaN or infinity; such values count as wrong.
    """

    threshold: float = 0.5
    keep_masks: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    not_finite: int = 0

    def update(self, entry: Entry, prediction: Prediction) -> Outcome:
        """Compare one prediction with its entry and remember the result.

        Raises:
            ValueError: a shape is wrong, or the mask is not of the picture's size.
        """
        keypoints = np.asarray(prediction.keypoints, dtype=np.float64)
        box = np.asarray(prediction.box_xyxy, dtype=np.float64)
        if keypoints.ndim != 2 or keypoints.shape[0] != 17 or keypoints.shape[1] < 2 or box.shape != (4,):
            raise ValueError(f"expected keypoints [17, 2+] and a box [4], got {keypoints.shape} and {box.shape}")
        score = float(prediction.score)
        if not (np.isfinite(score) and np.isfinite(keypoints[:, :2]).all() and np.isfinite(box).all()):
            self.not_finite += 1
            score = score if np.isfinite(score) else 0.0
            keypoints = np.nan_to_num(keypoints, nan=_OUTSIDE, posinf=_OUTSIDE, neginf=_OUTSIDE)
            box = box if np.isfinite(box).all() else np.zeros(4)
        if prediction.inference_ms is not None:
            self.times_ms.append(float(prediction.inference_ms))
        outcome = _compare(entry, score, box, keypoints, prediction.mask)
        if self.keep_masks and prediction.mask is not None:
            outcome = replace(outcome, mask=rle.encode(prediction.mask))
        self.outcomes.append(outcome)
        return outcome

    @property
    def present(self) -> list[Outcome]:
        """Outcomes whose person is in the picture."""
        return [outcome for outcome in self.outcomes if not outcome.entry.absent]

    def summary(self) -> dict[str, Any]:
        """All figures, ready for JSON; groups and figures without entries are None.

        Returns:
            `entries`, `not_finite`, `overall`, `presence`, `by_size`, `by_kind` (all as `geometry_summary`, with the
            presence of the kind's entries added) and `latency_ms` (p50, p90, p99, mean of the inference stage).
        """
        return {
            "entries": len(self.outcomes),
            "not_finite": self.not_finite,
            "overall": geometry_summary(self.present),
            "presence": self._presence(self.outcomes),
            "by_size": {size: geometry_summary(self._where("size", size)) for size in SIZES},
            "by_kind": {kind: self._kind(kind) for kind in KINDS},
            "latency_ms": latency_summary(self.times_ms),
        }

    def _where(self, attribute: str, value: str) -> list[Outcome]:
        return [outcome for outcome in self.present if getattr(outcome, attribute) == value]

    def _kind(self, kind: str) -> dict[str, Any] | None:
        geometry = geometry_summary(self._where("kind", kind))
        if geometry is None:
            return None
        presence = self._presence([outcome for outcome in self.outcomes if outcome.kind == kind])
        return geometry | {"AUROC": presence["AUROC"] if presence else None}

    def _presence(self, outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
        scores = np.array([outcome.score for outcome in outcomes], dtype=np.float64)
        present = np.array([not outcome.entry.absent for outcome in outcomes], dtype=bool)
        return presence_summary(scores, present, self.threshold)


def geometry_summary(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Pose, box and mask figures of present entries.

    Returns:
        `entries`, `pose` (AP and AR by COCO), `mean_oks`, `PCKh@0.5` and `PCKh_keypoints` (how many it counts),
        `box_Acc@0.5`, `mean_box_iou`, `mask` (oIoU, mIoU, P@0.5 ... P@0.9, entries). None when there are none.
    """
    if not outcomes:
        return None
    boxes = np.array([outcome.box_iou for outcome in outcomes])
    correct, counted = np.sum([outcome.pckh for outcome in outcomes], axis=0)
    overlaps = [outcome.overlap for outcome in outcomes if outcome.overlap]
    return {
        "entries": len(outcomes),
        "pose": pose_ap([outcome.pose for outcome in outcomes if outcome.pose]),
        "mean_oks": float(np.mean([outcome.oks for outcome in outcomes])),
        "PCKh@0.5": float(correct / counted) if counted else None,
        "PCKh_keypoints": int(counted),
        "box_Acc@0.5": float((boxes >= 0.5).mean()),
        "mean_box_iou": float(boxes.mean()),
        "mask": {"entries": len(overlaps), **mask_summary(overlaps)} if overlaps else None,
    }


def latency_summary(times_ms: Sequence[float]) -> dict[str, float] | None:
    """p50, p90, p99 and mean in milliseconds."""
    if not times_ms:
        return None
    percentiles = {f"p{share}": float(np.percentile(times_ms, share)) for share in (50, 90, 99)}
    return percentiles | {"mean": float(np.mean(times_ms))}


def size_of(entry: Entry) -> str:
    """Size of the person: the first of `SIZES` whose share of the picture the box stays below."""
    share = float(entry.bbox[2] * entry.bbox[3]) / (entry.width * entry.height)
    return next(size for size, limit in SIZES.items() if share < limit)


def _compare(entry: Entry, score: float, box: np.ndarray, keypoints: np.ndarray, mask: np.ndarray | None) -> Outcome:
    kind = caption_kind(entry.caption)
    if entry.absent:
        return Outcome(entry, score, kind, box, keypoints)
    return Outcome(
        entry,
        score,
        kind,
        box,
        keypoints,
        size=size_of(entry),
        pose=Pose(entry.keypoints, entry.area, entry.bbox, keypoints, score),
        oks=oks(keypoints, entry.keypoints, entry.area),
        box_iou=box_iou(box, entry.box_xyxy),
        overlap=mask_overlap(mask, entry.mask()) if mask is not None and entry.has_mask else None,
        pckh=pckh_counts(keypoints, entry.keypoints),
    )
