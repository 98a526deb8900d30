"""Stand-ins for the street pack's composer, which is not in the repository, and for its scenes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


def silent_composer(**parts: Any) -> SimpleNamespace:
    """The composer's parts that tools extend, which speak of nothing, and others as given."""
    spoken = {
        "facts": lambda person: [],
        "fits": lambda fact, person: True,
        "phrase": lambda fact, rng: ("a red shirt", "red shirt", "in"),
        "pick": lambda rng, words: words[rng.integers(len(words))],
    }
    return SimpleNamespace(**spoken | parts)


def people_in(height: int, width: int, lefts: Sequence[int] = (20, 120)) -> list[dict[str, Any]]:
    """People as the composer describes them: 40x120 pixels each, joints down the middle, a bag at the foot."""
    people = []
    for n, left in enumerate(lefts):
        mask = np.zeros((height, width), bool)
        mask[20:140, left : left + 40] = True
        bag = np.zeros_like(mask)
        bag[120:140, left : left + 10] = True
        joints = np.zeros((17, 3), np.float32)
        joints[:12] = [(left + 20, 25 + 10 * k, 2) for k in range(12)]
        people.append(
            {
                "rec": {"h": 384}, "n": n, "mask": mask, "full": mask.copy(), "K": joints, "bag": bag,
                "bag0": int(bag.sum()), "bag_seen": True, "whole": True, "feet_in": True, "h": 120.0, "z": 140.0,
                "bbox": [left, 20, 40, 120], "cx": left + 20.0, "hides": [n - 1] if n else [],
            }
        )  # fmt: skip
    return people
