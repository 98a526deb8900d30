"""Composed scenes as a close-up shows them: heads and shoulders that fill the picture, whatever stands beside cut off.

The pack's composer gives up scenes that show less than a quarter of somebody. `compose_people.py --zoom SHARE` cuts a
window out of that share of the scenes instead.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from closer_scenes import MOST_ENLARGED

Person = dict[str, Any]
Window = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
LEAST_AREA, LEAST_JOINTS = 0.01, 4
"""Who shows less of the window, or fewer joints, is a sliver that no caption can mean."""
BAG = 0.45
"""Share of a bag that must show, as in the composer."""
ATTEMPTS = 8


def window(person: Person, size: tuple[int, int], rng: np.random.Generator) -> Window:
    """A part of a picture (width, height) in which a person's head and shoulders are large.

    It may begin a twentieth of its height below the top of the person.
    """
    width, height = size
    left, top, w, _ = person["bbox"]
    aspect = np.exp(rng.uniform(np.log(0.6), np.log(1.7)))
    across = min(w / np.exp(rng.uniform(np.log(0.35), np.log(1.15))), width, aspect * height)
    down = across / aspect
    x = left + w / 2 - rng.uniform(0.25, 0.75) * across
    y = top - rng.uniform(-0.05, 0.3) * down
    whole = [round(value) for value in (x, y, across, down)]
    return min(max(whole[0], 0), width - whole[2]), min(max(whole[1], 0), height - whole[3]), whole[2], whole[3]


def seen_through(people: list[Person], part: Window, scale: float) -> list[Person] | None:
    """The people of a scene in a window, `scale` times as large; None if of somebody only a sliver is left.

    Masks are bool [h,w], `K` is float [17,3] (x, y, seen: 0 unknown, 1 hidden, 2 seen); those out of the window leave.
    """
    left, top, width, height = part
    size = (round(scale * width), round(scale * height))
    rows, columns = slice(top, top + height), slice(left, left + width)
    stay = [person for person in people if person["mask"][rows, columns].any()]
    position = {person["n"]: k for k, person in enumerate(stay)}

    def cut(mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask[rows, columns].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    found = []
    for person in stay:
        joints = person["K"].copy()
        joints[:, :2] = (joints[:, :2] - (left, top) + 0.5) * scale - 0.5
        outside = (joints[:, :2] < 0).any(1) | (joints[:, :2] > np.array(size) - 1).any(1)
        joints[outside | (joints[:, 2] == 0)] = 0
        mask = cut(person["mask"])
        if mask.sum() < LEAST_AREA * mask.size or (joints[:, 2] == 2).sum() < LEAST_JOINTS:
            return None
        ys, xs = mask.nonzero()
        box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
        bag = person["bag"][rows, columns].sum()
        found.append(
            person
            | {
                "K": joints, "mask": mask, "full": cut(person["full"]), "bag": cut(person["bag"]),
                "bag0": round(scale**2 * person["bag0"]),
                "bag_seen": bool(person["bag_seen"] and bag > BAG * person["bag0"]),
                "whole": bool(person["whole"] and person["mask"][rows, columns].sum() == person["mask"].sum()),
                "feet_in": bool(person["feet_in"] and person["z"] < top + height - 2),
                "bbox": box, "cx": box[0] + box[2] / 2, "h": scale * person["h"], "z": scale * (person["z"] - top),
                "n": position[person["n"]], "hides": [position[n] for n in person["hides"] if n in position],
            }
        )  # fmt: skip
    return found


def zoom(
    image: np.ndarray, people: list[Person], rng: np.random.Generator, long_side: int
) -> tuple[np.ndarray, list[Person]] | None:
    """A close-up of somebody in a scene (uint8 [h,w,3]), enlarged to `long_side`; None if no window is any good.

    Of several windows the one with most people is taken: with one alone there is nothing to choose.
    """
    best: tuple[Window, list[Person]] | None = None
    for _ in range(ATTEMPTS):
        person = people[rng.integers(len(people))]
        part = window(person, (image.shape[1], image.shape[0]), rng)
        scale = long_side / max(part[2:])
        if scale * person["h"] > MOST_ENLARGED * person["rec"]["h"]:
            continue
        found = seen_through(people, part, scale)
        if found and (best is None or len(found) > len(best[1])):
            best = part, found
    if best is None:
        return None
    (left, top, width, height), found = best
    seen = image[top : top + height, left : left + width]
    return cv2.resize(seen, found[0]["mask"].shape[::-1], interpolation=cv2.INTER_CUBIC), found
