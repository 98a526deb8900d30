"""Cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.kinds import caption_kind
from humar_edge.evaluation.masks import mask_overlap, mask_summary
from humar_edge.evaluation.oks import oks
from humar_edge.evaluation.pckh import pckh_counts
from humar_edge.evaluation.presence import auroc, best_f1, calibration, f1_at, presence_summary
from humar_edge.keypoints import SIGMAS


def pose(visible: tuple[int, ...] = tuple(range(17))) -> np.ndarray:
    """Keypoint k at (10 k, 5 k); the ears are (30, 15) and (40, 20): the head is sqrt(125) = 11.18 wide."""
    keypoints = np.array([(10.0 * k, 5.0 * k, 2.0) for k in range(17)])
    keypoints[[k for k in range(17) if k not in visible]] = 0
    return keypoints


def test_pckh_counts_errors_up_to_half_a_head():
    predicted = pose()[:, :2].copy()
    predicted[0, 0] += 5.59  # just inside 11.18 / 2
    predicted[1, 0] += 5.60  # just outside
    predicted[2] += 100
    assert pckh_counts(predicted, pose()) == (15, 17)


def test_pckh_counts_hidden_keypoints_and_not_unlabelled_ones():
    annotated = pose(visible=(0, 3, 4, 5))
    annotated[5, 2] = 1
    assert pckh_counts(pose(), annotated) == (4, 4)


@pytest.mark.parametrize("missing", [3, 4])
def test_pckh_needs_both_ears(missing):
    assert pckh_counts(pose(), pose(tuple(k for k in range(17) if k != missing))) == (0, 0)


def test_pckh_skips_heads_without_size():
    annotated = pose()
    annotated[4, :2] = annotated[3, :2]
    assert pckh_counts(pose(), annotated) == (0, 0)


def test_oks_by_hand():
    annotated = pose(visible=(0, 5))
    predicted = annotated[:, :2].copy()
    area = 1000.0
    # Distance sqrt(2 area) * 2 sigma gives exp(-1).
    predicted[5, 0] += np.sqrt(2 * area) * 2 * SIGMAS[5]
    assert oks(predicted, annotated, area) == pytest.approx((1 + np.exp(-1)) / 2)
    assert oks(predicted, pose(visible=()), area) == 0


@pytest.mark.parametrize(
    ("second", "iou"),
    [
        ((0, 0, 10, 10), 1.0),
        ((0, 0, 10, 5), 0.5),
        ((5, 0, 15, 10), 1 / 3),
        ((10, 0, 20, 10), 0.0),
        ((50, 50, 60, 60), 0.0),
        ((4, 4, 4, 4), 0.0),
        ((10, 10, 0, 0), 0.0),
    ],
)
def test_box_iou(second, iou):
    assert box_iou(np.array([0, 0, 10, 10]), np.array(second)) == pytest.approx(iou)


def test_masks_by_hand():
    first, second = np.zeros((2, 4, 10), dtype=bool)
    first[:, :6] = True
    second[:, 3:9] = True
    assert mask_overlap(first, second) == (12, 36)
    # A large person half right, and a small one wholly right.
    summary = mask_summary([(100, 200), (10, 10)])
    assert summary["oIoU"] == pytest.approx(110 / 210, abs=1e-6)
    assert summary["mIoU"] == pytest.approx(0.75, abs=1e-6)
    assert summary["P@0.6"] == 0.5 and summary["P@0.9"] == 0.5
    assert mask_summary([(80, 100), (69, 100), (0, 10), (95, 100)])["P@0.7"] == 0.5


def test_masks_of_different_size_are_an_error():
    with pytest.raises(ValueError, match="differ in size"):
        mask_overlap(np.zeros((2, 3), bool), np.zeros((3, 2), bool))


def test_auroc_by_hand():
    present = np.array([True, True, False, False])
    assert auroc(np.array([0.9, 0.8, 0.2, 0.1]), present) == 1
    assert auroc(np.array([0.1, 0.2, 0.8, 0.9]), present) == 0
    # Of four pairs two are right, one is tied, one is wrong.
    assert auroc(np.array([0.9, 0.3, 0.3, 0.5]), present) == pytest.approx(0.625)
    assert auroc(np.full(4, 0.5), present) == 0.5
    assert auroc(np.array([0.5, 0.6]), np.array([True, True])) is None


def test_f1_by_hand():
    scores, present = np.array([0.9, 0.6, 0.55, 0.4]), np.array([True, False, True, True])
    assert f1_at(scores, present, 0.5) == pytest.approx(
        {"threshold": 0.5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
    )
    best = best_f1(scores, present)
    assert best["threshold"] == 0.4 and best["f1"] == pytest.approx(6 / 7)
    assert f1_at(scores, present, 0.95)["f1"] == 0


def test_equal_scores_are_accepted_together():
    best = best_f1(np.full(4, 0.5), np.array([True, False, False, False]))
    assert best["threshold"] == 0.5 and best["f1"] == pytest.approx(0.4)


def test_calibration_by_hand():
    result = calibration(np.array([0.05, 0.95, 0.95, 1.0]), np.array([False, True, True, False]))
    assert [point["count"] for point in result["curve"]] == [1, 3]
    assert result["curve"][1]["present"] == pytest.approx(2 / 3)
    assert result["ece"] == pytest.approx((0.05 + 3 * (2.9 / 3 - 2 / 3)) / 4)


def test_presence_needs_both_kinds():
    assert presence_summary(np.array([0.5]), np.array([True]), 0.5) is None


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("the man to the left of the woman", "relation"),
        ("Man left of red jeans.", "relation"),
        ("girl next to the bus", "relation"),
        ("person behind black hat", "relation"),
        ("person between the other two", "relation"),
        ("the one in front of the car", "relation"),
        ("man on the left", "position"),
        ("guy on the left side of the picture", "position"),
        ("second person from the right in red", "position"),
        ("the woman closest to the camera", "position"),
        ("the man behind", "position"),
        ("the woman in a red dress", "colour"),
        ("navy-blue coat", "colour"),
        ("the guy with grey hair", "colour"),
        ("the woman with an umbrella", "other"),
        ("bright umbrella, infrared lamp", "other"),
        ("", "other"),
    ],
)
def test_caption_kinds(caption, kind):
    assert caption_kind(caption) == kind
