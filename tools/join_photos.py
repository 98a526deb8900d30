"""Join photographs of one person each to pictures of two to four, in RefHuman format: people to choose among who were
photographed where they stand, not cut out and pasted.

    python tools/join_photos.py PACK OUT --pictures 3000

From the photographs of `lsp/lsp.json` on which a detector saw at most one person (the others are held out, see
`lsp_to_refhuman.py`): each is cropped around its person, and two to four are put side by side. Captions name colours
that only one of them wears, places, and both; others fit nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from lsp_to_refhuman import Person, Split, is_single, read_photos
from tqdm import tqdm
from user_errors import Command

NEAR = {
    "black": "navy gray blue", "navy": "black blue purple", "blue": "navy black purple", "purple": "navy blue pink red",
    "red": "pink orange brown purple", "pink": "red purple orange beige", "orange": "red yellow brown pink beige",
    "yellow": "orange beige green", "green": "yellow navy gray", "brown": "red orange beige black gray",
    "beige": "white brown yellow pink orange gray", "white": "gray beige", "gray": "white black beige navy green brown",
}  # fmt: skip
"""Colours that somebody may call by each other's name."""
SURE = 0.6
"""Least confidence of a colour that a caption names."""
NOUNS = ("person", "person", "person", "one", "athlete", "player")
TOPS = ("shirt", "top", "jersey", "t-shirt")
SIDES = {2: ("left", "right"), 3: ("left", "middle", "right"), 4: ("left", None, None, "right")}
"""What the places of so many photographs side by side are called, from the left."""
MARGIN = 0.7
"""Most of the surroundings kept on each side, of the size of the person's box."""
WIDEST = 1.1
"""Width over height of a person's box, beyond which the person would make the picture too flat."""
ABSENT = 0.4
"""Share of the pictures with a caption for nobody."""
LONG = 384
"""Longer side of a picture, pixels."""


def colours(photo: dict[str, Any], part: str) -> set[str]:
    """Colours that a part ("upper", "lower") of the person may have; empty where nothing is known."""
    garment = photo[part] or {}
    return {garment[key] for key in ("color", "color2") if garment.get(key)}


def surely(photo: dict[str, Any], part: str) -> str | None:
    """The colour of a part as far as it is sure."""
    garment = photo[part]
    return garment["color"] if garment and garment["conf"] >= SURE else None


def may_wear(photo: dict[str, Any], part: str, colour: str) -> bool:
    """Whether the part may be called that colour; true where nothing is known about it."""
    known = colours(photo, part)
    return not known or bool(known & {colour, *NEAR[colour].split()})


def crop(
    photo: dict[str, Any], image: np.ndarray, height: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of the photograph with its whole person, scaled to a height in pixels.

    Returns:
        uint8 [height,W,3], and the map of coordinates as (x offset, y offset, scale), pixels.
    """
    x, y, w, h = photo["bbox"]
    spare = np.array([x, y, image.shape[1] - x - w, image.shape[0] - y - h]).clip(0)
    left, top, right, bottom = np.minimum(spare, MARGIN * np.array([w, h, w, h])) * rng.random(4) ** 0.5
    x0, y0 = max(0, int(x - left)), max(0, int(y - top))
    part = image[y0 : int(np.ceil(y + h + bottom)), x0 : int(np.ceil(x + w + right))]
    scale = height / part.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(part.shape[1] * scale)), height)
    return cv2.resize(part, size, interpolation=method), np.array([x0, y0, scale])


def place_phrases(side: str, noun: str, wears: str) -> list[str]:
    """Ways to say where somebody is; `wears` starts with a space or is empty."""
    if side == "middle":
        return [f"the {noun} in the middle{wears}", f"{noun}{wears} in the middle", f"middle {noun}{wears}"]
    return [
        f"the {noun} on the {side}{wears}",
        f"{side} {noun}{wears}",
        f"{noun}{wears} on the {side}",
        f"{noun}{wears} {side}",
    ]


def captions(people: list[dict[str, Any]], at: int, rng: np.random.Generator) -> list[str]:
    """Captions that fit one of the people and nobody else; possibly none."""
    person, others = people[at], [other for k, other in enumerate(people) if k != at]
    noun, found, worn = str(rng.choice(NOUNS)), [], ""
    if (colour := surely(person, "upper")) is not None:
        wears = (f" in {colour}", f" in a {colour} {rng.choice(TOPS)}", f" wearing a {colour} {rng.choice(TOPS)}")
        worn = str(rng.choice(wears[1:]))
        if not any(may_wear(other, "upper", colour) for other in others):
            in_colour = not any(may_wear(other, "lower", colour) for other in others)
            found.append(f"{rng.choice(['the ', ''])}{noun}{rng.choice(wears[0 if in_colour else 1 :])}")
    if (colour := surely(person, "lower")) is not None and not any(
        may_wear(other, "lower", colour) for other in others
    ):
        found.append(
            f"{noun} {rng.choice(['in', 'wearing', 'with'])} {colour} {rng.choice(['pants', 'trousers', 'shorts'])}"
        )
    if side := SIDES[len(people)][at]:
        found.append(str(rng.choice(place_phrases(side, noun, worn if rng.random() < 0.5 else ""))))
    return found


def absent_caption(people: list[dict[str, Any]], rng: np.random.Generator) -> str | None:
    """A caption that fits nobody, with a colour that nobody may wear; None where there is none."""
    free = [
        colour for colour in NEAR if not any(may_wear(p, part, colour) for p in people for part in ("upper", "lower"))
    ]
    if not free:
        return None
    colour, noun = rng.choice(free), rng.choice(NOUNS)
    return str(rng.choice([f"{noun} in {colour}", f"the {noun} wearing a {colour} {rng.choice(TOPS)}"]))


def joined(people: list[dict[str, Any]], pack: Path, rng: np.random.Generator) -> tuple[np.ndarray, list[Person]]:
    """The photographs side by side.

    Returns:
        uint8 [H,W,3] BGR with a longer side of LONG, and where each person is in it.
    """
    parts = [crop(person, cv2.imread(str(pack / person["file"])), LONG, rng) for person in people]
    scale = min(1.0, LONG / sum(part.shape[1] for part, _ in parts))
    whole = np.hstack([part for part, _ in parts])
    size = (round(whole.shape[1] * scale), round(whole.shape[0] * scale))
    truth: list[Person] = []
    offset = 0.0
    for person, (part, (x0, y0, zoom)) in zip(people, parts, strict=True):
        keypoints = np.array(person["keypoints"], float).reshape(17, 3)
        keypoints[:, :2] = ((keypoints[:, :2] - (x0, y0)) * zoom + (offset, 0)) * scale
        keypoints[keypoints[:, 2] == 0] = 0
        x, y, w, h = person["bbox"]
        box = np.array([(x - x0) * zoom + offset, (y - y0) * zoom, w * zoom, h * zoom]) * scale
        truth.append((box.round(1).tolist(), keypoints.round(1).reshape(-1).tolist()))
        offset += part.shape[1]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), truth


@click.command(cls=Command)
@click.argument("pack", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", type=click.IntRange(1), default=3000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(pack: Path, out: Path, pictures: int, seed: int) -> None:
    """Join the single people of PACK/lsp to pictures of two to four in OUT (training split)."""
    photos = [photo for photo in read_photos(pack) if is_single(photo)]
    photos = [photo for photo in photos if photo["bbox"][2] <= WIDEST * photo["bbox"][3]]
    (out / "images").mkdir(parents=True, exist_ok=True)
    rng, split = np.random.default_rng(seed), Split()
    for index in tqdm(range(pictures), unit="picture"):
        people = [photos[k] for k in rng.choice(len(photos), rng.choice([2, 3, 4], p=[0.5, 0.35, 0.15]), replace=False)]
        image, truth = joined(people, pack, rng)
        name, size = f"joined_{index:06d}.jpg", (image.shape[1], image.shape[0])
        cv2.imwrite(str(out / "images" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        for at, person in enumerate(truth):
            for text in captions(people, at, rng):
                split.add(name, size, text, person)
        if rng.random() < ABSENT and (text := absent_caption(people, rng)) is not None:
            split.add(name, size, text, None)
    split.write(out / "RefHuman_train.json")
    click.echo(f"{pictures} pictures, {len(split.images)} prompts")


if __name__ == "__main__":
    main()
