"""Scenes that look more like photographs: close people, near and far ones, far ones only, groups, things in front.

The pack's composer stands everybody on a street at about the same distance. `compose_people.py --views ... --cover ...`
replaces its layout by these, and puts tables, rails and other things in front of people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

Person = dict[str, Any]
Placed = list[list[Any]]
"""[record, height, ground line, x] of everybody, in pixels; far people first."""
Layout = Callable[[list[Person], int, int, np.random.Generator], Placed]
MOST_ENLARGED = 3.5
LEAST_SEEN, LEAST_JOINTS = 0.3, 4
"""The composer's own limits for a person that is worth describing."""


def _across(count: int, rng: np.random.Generator) -> np.ndarray:
    """Where `count` people stand, shares of the width, in random order."""
    places = (np.arange(count) + 0.5) / count + rng.uniform(-0.5, 0.5, count) * (0.9 / count if count > 1 else 0.5)
    return rng.permutation(places)


def _stand(record: Person, height: float, foot: float, x: float, size: tuple[int, int]) -> list[Any]:
    """One person; those without feet are cut off by the lower edge."""
    height = min(height, MOST_ENLARGED * record["h"])
    return [record, height, foot if record["full_body"] else max(foot, 1.01 * size[1]), x * size[0]]


def _side_by_side(
    records: list[Person], size: tuple[int, int], rng: np.random.Generator, draw: Callable[[], tuple[float, float]]
) -> Placed:
    """Everybody in a slot of their own; `draw` gives height and ground line of the next one."""
    places = _across(len(records), rng)
    placed = [_stand(record, *draw(), x, size) for record, x in zip(records, places, strict=True)]
    return sorted(placed, key=lambda person: person[2])


def close(records: list[Person], width: int, height: int, rng: np.random.Generator) -> Placed:
    """Heads and upper bodies: the picture ends somewhere between the shoulders and the knees."""
    size = height * np.exp(rng.uniform(np.log(1.1), np.log(1.5 if len(records) > 3 else 2.9)))
    top = rng.uniform(0.02, 0.3)

    def draw() -> tuple[float, float]:
        own = size * rng.uniform(0.8, 1.25)
        return own, (top + rng.uniform(-0.05, 0.12)) * height + own

    return _side_by_side(records, (width, height), rng, draw)


def deep(records: list[Person], width: int, height: int, rng: np.random.Generator) -> Placed:
    """Everybody at a distance of their own, from close to far away, on one ground."""
    horizon, ratio = rng.uniform(0.15, 0.5) * height, rng.uniform(0.75, 1.5)

    def draw() -> tuple[float, float]:
        own = height * np.exp(rng.uniform(np.log(0.1), np.log(2.2)))
        top = np.clip(horizon + own / ratio - own, -0.03 * height, 0.45 * height)
        return own, top + own if own > 0.8 * height else horizon + own / ratio

    return _side_by_side(records, (width, height), rng, draw)


def far(records: list[Person], width: int, height: int, rng: np.random.Generator) -> Placed:
    """Small people on a wide ground. Those cut out without feet stay away, as only the lower edge could hide that."""
    standing = [record for record in records if record["full_body"]] or records
    horizon, ratio = rng.uniform(0.2, 0.6) * height, rng.uniform(0.75, 1.5)
    size = height * np.exp(rng.uniform(np.log(0.1), np.log(0.4)))

    def draw() -> tuple[float, float]:
        own = size * np.exp(rng.uniform(-0.3, 0.3))
        return own, horizon + own / ratio

    return _side_by_side(standing, (width, height), rng, draw)


def group(records: list[Person], width: int, height: int, rng: np.random.Generator) -> Placed:
    """People who pose together: one or two rows, shoulder behind shoulder, those behind cut off by those in front."""
    rows = 1 if len(records) < 3 or rng.random() < 0.4 else 2
    columns = -(-len(records) // rows)
    gap = rng.uniform(0.17, 0.3)  # between neighbours, as a share of a person's height; people are a third as wide
    size = width * rng.uniform(0.45, 1.0) / ((columns - 1) * gap + 0.35)
    size = np.clip(size, 0.65 * height, 2.4 * height)
    top = rng.uniform(0.05, 0.3) * height
    step = min(rng.uniform(0.1, 0.24) * size, 0.35 * height)  # from row to row, down
    middle = 0.5 + rng.uniform(-0.15, 0.15)
    placed = []
    for k, record in enumerate(records):
        row, column = divmod(k, columns)
        count = min(columns, len(records) - row * columns)
        x = middle + (column - (count - 1) / 2 + 0.5 * row + rng.uniform(-0.15, 0.15)) * gap * size / width
        own = size * rng.uniform(0.88, 1.08) * (1.08 if row else 1)
        foot = top + (row + rng.uniform(-0.15, 0.15)) * step + own
        placed.append(_stand(record, own, foot, float(np.clip(x, -0.1, 1.1)), (width, height)))
    return sorted(placed, key=lambda person: person[2])


def mixed(street: Layout, weights: Sequence[float]) -> Layout:
    """The composer's own layout, `close`, `deep`, `group` and `far`, drawn by these weights."""
    shares = np.array(weights) / sum(weights)

    def layout(records: list[Person], width: int, height: int, rng: np.random.Generator) -> Placed:
        drawn: Layout = (street, close, deep, group, far)[rng.choice(5, p=shares)]
        return drawn(records, width, height, rng)

    return layout


def _shape(person: Person, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What stands in front of a person, bool [h,w]: a table or wall up to the lower edge, a bar, or something round."""
    width, height = size
    x, y, w, h = person["bbox"]
    canvas = np.zeros((height, width), np.uint8)
    kind = rng.random()
    if kind < 0.7:
        top = y + rng.uniform(0.4, 0.9) * h
        left, right = (
            (x - rng.uniform(0, 2) * w, x + w + rng.uniform(0, 2) * w) if rng.random() < 0.6 else (-9, width + 9)
        )
        tilt = rng.uniform(-0.08, 0.08) * (right - left)
        below = height + 9 if kind < 0.5 else top + rng.uniform(0.1, 0.3) * h
        lean = rng.uniform(-0.15, 0.15) * w
        corners = [(left, top - tilt), (right, top + tilt), (right + lean, below + tilt), (left - lean, below - tilt)]
        cv2.fillPoly(canvas, [np.array(corners).round().astype(np.int32)], 1)
    else:
        centre = (round(x + rng.uniform(0, 1) * w), round(y + rng.uniform(0.5, 1) * h))
        axes = (max(3, round(rng.uniform(0.15, 0.6) * w)), max(3, round(rng.uniform(0.08, 0.25) * h)))
        cv2.ellipse(canvas, centre, axes, rng.uniform(-30, 30), 0, 360, 1, -1)
    return canvas > 0


def _texture(photo: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What it is made of, uint8 [h,w,3]: a part of a photo without people, or one shaded colour."""
    width, height = size
    if rng.random() < 0.4:
        shade = np.linspace(rng.uniform(0.6, 1.1), rng.uniform(0.6, 1.1), height)[:, None, None]
        plain = rng.uniform(20, 240) * rng.uniform(0.7, 1.2, 3) * shade * np.ones((1, width, 1))
        return np.clip(plain + rng.normal(0, 4, plain.shape), 0, 255).astype(np.uint8)
    side = rng.uniform(0.3, 1) * min(photo.shape[:2])
    top, left = (int(rng.uniform(0, length - side)) for length in photo.shape[:2])
    part = photo[top : top + int(side), left : left + int(side)]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)


def hide(people: list[Person], cover: np.ndarray) -> bool:
    """Take what lies under `cover` (bool [h,w]) from the people of a scene; False if too little of somebody is left."""
    for person in people:
        mask, joints = person["mask"] & ~cover, person["K"]
        x, y = joints[:, :2].astype(int).T  # 0, 0 where unknown
        joints[(joints[:, 2] == 2) & cover[y, x], 2] = 1
        if mask.sum() < LEAST_SEEN * person["full"].sum() or (joints[:, 2] == 2).sum() < LEAST_JOINTS:
            return False
        person["whole"] = person["whole"] and mask.sum() > 0.95 * person["mask"].sum()
        person["bag_seen"] = bool(person["bag_seen"] and (person["bag"] & ~cover).sum() > 0.45 * person["bag0"])
        ys, xs = mask.nonzero()
        person["mask"] = mask
        person["bbox"] = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
        person["cx"] = person["bbox"][0] + person["bbox"][2] / 2
    return True


def put_in_front(
    image: np.ndarray, people: list[Person], photo: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[Person]] | None:
    """A scene with one thing before somebody; None if that hides too much. `people` are changed."""
    size = (image.shape[1], image.shape[0])
    cover = _shape(people[rng.integers(len(people))], size, rng)
    if not hide(people, cover):
        return None
    weight = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), rng.uniform(0.4, 1.2))[..., None]
    drawn = image * (1 - weight) + _texture(photo, size, rng) * weight
    return drawn.round().astype(np.uint8), people
