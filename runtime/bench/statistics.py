"""Summaries of latencies, and ratios of what was measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from humar_edge.errors import ConfigError

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Summary:
    """Milliseconds of one stage.

    Attributes:
        count: How many were measured.
        mean: Their mean.
        std: Their standard deviation (of the sample).
        min: The least.
        max: The most.
        p50: Median.
        p90: 90th percentile.
        p95: 95th percentile.
        p99: 99th percentile.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Summarise milliseconds; percentiles are interpolated linearly.

        Raises:
            ConfigError: There are no samples.
        """
        values = np.asarray(samples, dtype=np.float64)
        if not values.size:
            raise ConfigError("nothing was measured: ask for at least one iteration")
        std = float(values.std(ddof=1)) if values.size > 1 else 0.0
        percentiles = (float(value) for value in np.percentile(values, PERCENTILES))
        return cls(values.size, float(values.mean()), std, float(values.min()), float(values.max()), *percentiles)

    def to_dict(self) -> dict[str, float]:
        """Plain data, rounded to a microsecond's tenth."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Ratio:
    """How many times longer than the reference something took.

    Attributes:
        value: Median over the rounds of (median of this in the round) / (median of the reference in the round).
        low: 10th percentile of the rounds' ratios.
        high: 90th percentile of the rounds' ratios.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example `1.52 (1.49-1.57)`."""
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def side_by_side(rounds: Sequence[float], reference: Sequence[float]) -> Ratio:
    """The ratio of two things whose rounds were measured in turns, A B A B.

    Both halves of a round see the same clocks and neighbours, so a drift of the machine cancels out of each round's
    ratio; a ratio of two overall medians would keep it.

    Args:
        rounds: Median milliseconds of every round.
        reference: The same of the reference; rounds without a partner are left out.
    """
    pairs = list(zip(rounds, reference, strict=False))
    if not pairs:
        raise ConfigError("no rounds to compare")
    ratios = np.array([mine / max(other, 1e-9) for mine, other in pairs])
    low, value, high = (float(part) for part in np.percentile(ratios, (10, 50, 90)))
    return Ratio(value, low, high)
