"""What a run measured, in constant memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from humar_edge.results import Person
from humar_edge.runtime.sources.base import Frame

STAGES = ("preprocess", "inference", "postprocess")
PERCENTILES = (50, 90, 99)

# Enough for a stable p99, little enough for weeks of running.
_WINDOW = 10_000


class RunStatistics:
    """Counts and latencies of a run; latencies are those of the last 10,000 frames."""

    def __init__(self) -> None:
        self._stages: dict[str, deque[float]] = {name: deque(maxlen=_WINDOW) for name in (*STAGES, "delay")}
        self._found: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._started: float | None = None
        self._finished = 0.0
        self.frames = 0
        self.dropped = 0
        self.reconnects = 0

    def start(self) -> None:
        """The clock of the end-to-end rate starts."""
        self._started = self._finished = time.perf_counter()

    def add(self, frame: Frame, persons: Sequence[Person]) -> None:
        """Count a frame that is done. Inference and postprocessing are summed over the prompts."""
        now = time.perf_counter()
        self.frames, self._finished = self.frames + 1, now
        for person in persons:
            self._seen[person.text] = self._seen.get(person.text, 0) + 1
            self._found[person.text] = self._found.get(person.text, 0) + person.found
        # All prompts share one preprocessing.
        times = {stage: sum(p.timings.get(stage, 0.0) for p in persons) for stage in STAGES[1:]}
        times["preprocess"] = persons[0].timings.get("preprocess", 0.0) if persons else 0.0
        times["delay"] = (now - frame.captured) * 1000
        for stage, value in times.items():
            self._stages[stage].append(value)

    @property
    def fps(self) -> float:
        """Frames per second from start to the last frame, everything included."""
        seconds = self._finished - (self._started or self._finished)
        return self.frames / seconds if seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data: counts, fps, found share by prompt, latency percentiles in milliseconds by stage."""
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "reconnects": self.reconnects,
            "fps": round(self.fps, 2),
            "found": {text: round(self._found[text] / seen, 4) for text, seen in self._seen.items()},
            "latency_ms": {
                stage: {f"p{p}": round(float(np.percentile(values, p)), 3) for p in PERCENTILES}
                for stage, values in self._stages.items()
                if values
            },
        }
