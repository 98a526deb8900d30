"""How far the outputs of two engines differ, gathered picture by picture in constant memory per picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

OUTPUTS: dict[str, str] = {
    "score": "probability",
    "box": "canvas",
    "keypoints": "canvas",
    "visibility": "probability",
    "mask": "logits",
}
"""What is compared, and its unit (canvas: its sides are 1). `visibility` is the third column of `keypoints`."""

SAMPLED = 4096
"""Values per picture that the 99th percentile looks at; maximum and mean look at all."""


class OutputDifferences:
    """Statistics of |a - b| per output. NaN and infinity are counted and left out of the other figures."""

    def __init__(self) -> None:
        self._maximum: dict[str, float] = {}
        self._scale: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._samples: dict[str, list[np.ndarray]] = {}
        self._broken: dict[str, int] = {}
        self.incomparable: dict[str, str] = {}
        """Output -> why it was not compared."""

    def update(self, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Add one pair of outputs (names and shapes of the engines' contract); `a` is the reference.

        Returns:
            Largest difference by output.
        """
        worst: dict[str, float] = {}
        found, expected = _parts(b), _parts(a)
        if not _same_aspect(a["mask"].shape, b["mask"].shape):
            for name in ("box", "keypoints"):
                self.incomparable[name] = "the two canvases have different aspect ratios"
                del expected[name]
        for name, values in expected.items():
            other = found.get(name)
            if other is None or other.shape != values.shape:
                self.incomparable[name] = "the two have different shapes"
                continue
            worst[name] = self._add(name, values.astype(np.float64).ravel(), other.astype(np.float64).ravel())
        return worst

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per output `max`, `mean`, `p99`, `scale` (largest reference value), `tolerance` (the absolute one, to two
        digits, that would have passed), `not_finite` (values), `unit`. Figures are None where nothing was finite.
        """
        return {name: self._figures(name) for name in OUTPUTS if name in self._counts}

    def _add(self, name: str, expected: np.ndarray, found: np.ndarray) -> float:
        difference = np.abs(expected - found)
        finite = np.isfinite(difference)
        broken = int(difference.size - np.count_nonzero(finite))
        self._broken[name] = self._broken.get(name, 0) + broken
        difference = difference[finite] if broken else difference
        largest = float(difference.max(initial=0.0))
        self._maximum[name] = max(self._maximum.get(name, 0.0), largest)
        self._scale[name] = max(self._scale.get(name, 0.0), float(np.abs(expected[finite]).max(initial=0.0)))
        self._totals[name] = self._totals.get(name, 0.0) + float(difference.sum())
        self._counts[name] = self._counts.get(name, 0) + difference.size
        step = max(-(-difference.size // SAMPLED), 1)
        self._samples.setdefault(name, []).append(difference[::step].astype(np.float32))
        return math.inf if broken else largest

    def _figures(self, name: str) -> dict[str, Any]:
        count = self._counts[name]
        samples = np.concatenate(self._samples[name])
        return {
            "max": self._maximum[name] if count else None,
            "mean": self._totals[name] / count if count else None,
            "p99": float(np.percentile(samples, 99)) if samples.size else None,
            "scale": self._scale[name] if count else None,
            "tolerance": round_up(self._maximum[name]) if count and not self._broken[name] else None,
            "not_finite": self._broken[name],
            "unit": OUTPUTS[name],
        }


def round_up(value: float, digits: int = 2) -> float:
    """The smallest number of so many significant digits that is not below a value."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / step * (1 - 1e-12)) * step:.{digits}g}")


def _same_aspect(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[-2] * b[-1] == a[-1] * b[-2]


def _parts(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    parts = dict(outputs)
    keypoints = parts.pop("keypoints")
    return parts | {"keypoints": keypoints[..., :2], "visibility": keypoints[..., 2]}
