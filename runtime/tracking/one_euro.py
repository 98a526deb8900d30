"""The One-Euro filter (Casiez, Roussel, Vogel: 1 EUR filter, CHI 2012) for sets of points.

Two things differ from the paper. Speeds are measured in body sizes per second, so that one setting serves near and far
people. And the cutoff grows with v^2 / (v + knee) instead of v: the apparent speed of a jittering but still point lies
below the knee and hardly opens the filter, a real movement lies above it and opens it in proportion.
"""

from __future__ import annotations

import math

import numpy as np


class OneEuroFilter:
    """A low-pass filter that is slow for still points and fast for moving ones.

    At 30 frames per second the defaults cut jitter of up to 1% of the body size by more than three, and lag at most one
    frame behind a movement of one body size per second or more (tests/runtime/tracking).

    Args:
        min_cutoff: Cutoff for still points, Hz. Lower is smoother and slower.
        beta: Growth of the cutoff with speed, Hz per body size per second. Higher lags less.
        knee: Speed below which movement counts as jitter, body sizes per second.
        speed_cutoff: Cutoff of the speed estimate, Hz.
    """

    def __init__(
        self, min_cutoff: float = 0.3, beta: float = 21.0, knee: float = 0.3, speed_cutoff: float = 1.0
    ) -> None:
        self._min_cutoff, self._beta, self._knee, self._speed_cutoff = min_cutoff, beta, knee, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next points are taken as they are."""
        self._time = math.nan
        self._raw: np.ndarray | None = None
        self._smooth: np.ndarray | None = None
        self._velocity: np.ndarray | None = None

    def __call__(self, points: np.ndarray, time_s: float, scale: float) -> np.ndarray:
        """Filter the points of one frame.

        Args:
            points: [N, 2], pixels; N must stay the same between resets.
            time_s: Time of the frame, seconds; a time that is not later than the last one counts as the same frame.
            scale: Body size, pixels.

        Returns:
            float64 [N, 2].
        """
        points = np.asarray(points, dtype=np.float64)
        if self._raw is None or self._smooth is None or self._velocity is None:
            self._time, self._raw, self._smooth = time_s, points.copy(), points.copy()
            self._velocity = np.zeros_like(points)
            return points.copy()
        step = time_s - self._time
        if step <= 0:
            return self._smooth.copy()
        velocity = (points - self._raw) / step / max(scale, 1.0)
        self._velocity += _weight(self._speed_cutoff, step) * (velocity - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True)
        cutoff = self._min_cutoff + self._beta * speed**2 / (speed + self._knee)
        self._smooth = self._smooth + _weight(cutoff, step) * (points - self._smooth)
        self._time, self._raw = time_s, points.copy()
        return self._smooth.copy()


def _weight(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Weight of the new value in an exponential filter of that cutoff (Hz) and time step (seconds)."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * step))
