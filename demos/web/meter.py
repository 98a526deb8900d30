"""Latencies and frame rate of the newest frames, for the page's graph."""

from __future__ import annotations

import time
from collections import deque

from humar_edge.runtime.pipeline import Result
from humar_edge.runtime.predictor import STAGES

SAMPLES = 240
"""Frames that the latency graph goes back."""

_RATE_OVER = 30
"""Frames that the frame rate is an average of."""


class Meter:
    """Collects what each frame took. Not safe for threads."""

    def __init__(self) -> None:
        self._samples: deque[list[float]] = deque(maxlen=SAMPLES)
        self._arrivals: deque[float] = deque(maxlen=_RATE_OVER)

    def restart(self) -> None:
        """Another source begins; the graph goes on, the frame rate starts anew."""
        self._arrivals.clear()

    def record(self, number: int, result: Result) -> None:
        """Add a frame: its number, milliseconds of each of `STAGES`, its age in milliseconds, frames per second."""
        now = time.perf_counter()
        self._arrivals.append(now)
        persons = result.persons
        times = {stage: sum(person.timings.get(stage, 0.0) for person in persons) for stage in STAGES}
        # All prompts share one preprocessing.
        times["preprocess"] = persons[0].timings.get("preprocess", 0.0)
        values = [*(times[stage] for stage in STAGES), (now - result.frame.captured) * 1000, self.fps]
        self._samples.append([number, *(round(value, 2) for value in values)])

    @property
    def fps(self) -> float:
        """Frames per second of late; falls when frames stay away."""
        if len(self._arrivals) < 2:
            return 0.0
        seconds = max(self._arrivals[-1], time.perf_counter() - 1.0) - self._arrivals[0]
        return (len(self._arrivals) - 1) / max(seconds, 1e-3)

    def since(self, number: int) -> list[list[float]]:
        """Samples of frames after `number`."""
        return [sample for sample in self._samples if sample[0] > number]
