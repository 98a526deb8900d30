"""Streaming statistics of one tensor, and three ways to choose its INT8 range from them.

Only the size of values counts, because the ranges are symmetric. The histogram grows by doubling its range and merging
neighbours, so that every value of every image is in it while the memory stays constant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BINS = 2048
LEVELS = 128
"""Sizes that INT8 tells apart."""
PERCENTILE = 99.99


class Histogram:
    """Absolute values of a tensor over many images."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.upper = 0.0
        self.largest = 0.0

    def update(self, values: np.ndarray) -> None:
        """Add a tensor's values; infinities and NaN are an error of the caller's graph and are left out."""
        size = np.abs(values.astype(np.float32, copy=False)).ravel()
        largest = float(size.max(initial=0.0))
        if not np.isfinite(largest):
            size = size[np.isfinite(size)]
            largest = float(size.max(initial=0.0))
        self.largest = max(self.largest, largest)
        if self.upper == 0.0:
            self.upper = largest
        if self.upper == 0.0:
            self.counts[0] += size.size
            return
        while self.upper < largest:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.upper *= 2
        index = np.minimum((size * (BINS / self.upper)).astype(np.int32), BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)

    def edge(self, bins: int) -> float:
        """Upper edge of the first `bins` bins, at most the largest value."""
        return min(self.upper * bins / BINS, self.largest)


def minmax(histogram: Histogram) -> float:
    """The largest value: nothing is clipped, outliers cost resolution."""
    return histogram.largest


def percentile(histogram: Histogram) -> float:
    """The size that 99.99% of the values stay below."""
    total = histogram.counts.cumsum()
    if total[-1] == 0:
        return 0.0
    return histogram.edge(int(np.searchsorted(total, total[-1] * PERCENTILE / 100)) + 1)


def entropy(histogram: Histogram) -> float:
    """The range whose 128 levels lose the least information (Kullback-Leibler divergence, Migacz, GTC 2017)."""
    counts = histogram.counts.astype(np.float64)
    # Zeros (after a ReLU most values) are exact in any range and would hide the rest.
    counts[0] = 0
    total = counts.sum()
    if total == 0:
        return histogram.largest
    best, chosen = np.inf, BINS
    for bins in range(LEVELS, BINS + 1, 16):
        kept = counts[:bins].copy()
        kept[-1] += counts[bins:].sum()
        group = np.arange(bins) * LEVELS // bins
        used = kept > 0
        mass = np.bincount(group, counts[:bins], LEVELS)
        share = np.bincount(group, used, LEVELS)
        spread = np.where(used, (mass / np.maximum(share, 1))[group], 0.0)
        if spread.sum() == 0:
            continue
        p, q = kept[used] / total, np.maximum(spread[used] / spread.sum(), 1e-12)
        divergence = float((p * np.log(p / q)).sum())
        if divergence < best:
            best, chosen = divergence, bins
    return histogram.edge(chosen)


METHODS: dict[str, Callable[[Histogram], float]] = {"minmax": minmax, "percentile": percentile, "entropy": entropy}
"""Name -> (histogram -> largest value that the INT8 range must hold)."""
