"""A second look, on a smaller picture, at people who fill the frame.

People who fill a training picture were enlarged, so they are smooth; of somebody who fills a photograph a network boxes
the middle. On half of the canvas the same person is one of ordinary size. What that gains, and how the limits were
chosen: docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from humar_edge.prompts import Prompt
from humar_edge.results import Person

SHARE = 0.5
"""Of the canvas' sides that the picture takes at the second look."""
LOOK_AGAIN = 0.2
"""From which `coverage` of the person found on there is a second look."""
KEEP = 0.35
"""From which `coverage` on its answer is taken: people of ordinary size are seen better at full size."""

Find = Callable[[float, Sequence[Prompt]], Iterable[Person]]
"""Finds everybody on a picture that takes a share of the canvas' sides."""


def coverage(person: Person) -> float:
    """Area of the best guess's box over the square of the frame's longer side, in [0, 1]."""
    left, top, right, bottom = (float(value) for value in person.box_xyxy)
    return (right - left) * (bottom - top) / max(person.frame_size) ** 2


def with_second_look(find: Find, prompts: Sequence[Prompt]) -> list[Person]:
    """One person per prompt, in order; `Person.timings` hold both looks where there were two."""
    persons = list(find(1.0, prompts))
    near = [index for index, person in enumerate(persons) if coverage(person) > LOOK_AGAIN]
    if near:
        for index, second in zip(near, find(SHARE, [prompts[index] for index in near]), strict=True):
            first = persons[index]
            timings = {stage: value + second.timings.get(stage, 0.0) for stage, value in first.timings.items()}
            persons[index] = replace(second if coverage(second) > KEEP else first, timings=timings)
    return persons
