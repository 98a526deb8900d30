"""Calibration of the presence score."""

import numpy as np
import pytest

pytest.importorskip("torch")

from humar_edge.errors import DataError
from humar_edge.training.presence import platt


def test_platt_recovers_a_known_scale_and_shift() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    present = rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * logits - 0.8)))
    scale, shift = platt(logits, present)
    assert scale == pytest.approx(0.6, abs=0.03) and shift == pytest.approx(-0.8, abs=0.05)


def test_separable_scores_stay_finite_and_ordered() -> None:
    logits = np.concatenate([np.full(50, 5.0), np.full(50, -5.0)])
    scale, shift = platt(logits, logits > 0)
    score = 1 / (1 + np.exp(-(scale * logits + shift)))
    assert 0 < scale < 50 and score[0] > 0.9 and score[-1] < 0.1


def test_scores_that_mean_the_opposite_say_how_many_are_present() -> None:
    logits = np.random.default_rng(0).normal(4, 3, 1000)
    present = np.arange(1000) < 700
    logits[present] -= 4
    scale, shift = platt(logits, present)
    score = 1 / (1 + np.exp(-(scale * logits + shift)))
    assert scale == 0.05 and score.mean() == pytest.approx(0.7, abs=0.01)


def test_without_absent_people_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(DataError, match="absent"):
        platt(np.ones(4), np.ones(4, bool))
