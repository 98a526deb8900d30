"""Summaries and ratios of made-up samples."""

from __future__ import annotations

import numpy as np
import pytest

from humar_edge.errors import ConfigError
from humar_edge.runtime.bench.statistics import Summary, side_by_side


def test_summary_of_known_samples():
    found = Summary.of([float(value) for value in range(1, 102)])
    assert (found.count, found.mean, found.min, found.max) == (101, 51, 1, 101)
    assert (found.p50, found.p90, found.p95, found.p99) == (51, 91, 96, 100)
    assert found.std == pytest.approx(29.3002, abs=1e-4)
    assert Summary.of([7]).std == 0
    assert Summary.of([1.23456]).to_dict()["p50"] == 1.2346


def test_percentiles_lie_between_samples():
    assert Summary.of([0.0, 10.0]).p90 == pytest.approx(9)


def test_nothing_measured_is_an_error():
    with pytest.raises(ConfigError, match="nothing was measured"):
        Summary.of([])
    with pytest.raises(ConfigError):
        side_by_side([], [])


def test_the_ratio_of_rounds_is_free_of_drift():
    """A machine that gets three times slower during the run: the ratio stays, that of overall medians would not."""
    drift = np.linspace(1, 3, 21)
    reference, mine = 10 * drift, 5 * drift
    found = side_by_side(list(mine), list(reference))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert side_by_side(list(mine[:7]), list(reference)).value == pytest.approx(0.5)


def test_the_ratio_shows_its_spread():
    found = side_by_side([10, 20, 30], [10, 10, 10])
    assert (found.value, found.low, found.high) == pytest.approx((2, 1.2, 2.8))
    assert str(found) == "2.00 (1.20-2.80)"
