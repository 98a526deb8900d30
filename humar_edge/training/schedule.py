"""Factor of the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from humar_edge.training.recipes import Recipe

FLOOR = 0.01
DROP_AT, DROP_TO = 0.9, 0.1


def _cosine(progress: float) -> float:
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def _step(progress: float) -> float:
    return 1.0 if progress < DROP_AT else DROP_TO


SCHEDULES: dict[str, Callable[[float], float]] = {"cosine": _cosine, "step": _step}
"""`cosine` falls to 1 %; `step` falls to a tenth at 90 % of the run (UniPHD: at epoch 18 of 20)."""


def schedule(progress: float, step: int, recipe: Recipe) -> float:
    """Factor of the learning rate: linear warm-up, then the recipe's schedule; `progress` is the share done."""
    return min(1.0, (step + 1) / max(1, recipe.warmup)) * SCHEDULES[recipe.schedule](min(progress, 1.0))
