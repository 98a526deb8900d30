"""Join photographs of one person each to pictures of two to four, in RefHuman format: people to choose among who were
photographed where they stand, not cut out and pasted.

    python tools/join_photos.py PACK OUT --pictures 3000

From the photographs of `lsp/lsp.json` on which a detector saw at most one person (the others are held out, see
`lsp_to_refhuman.py`) and of which `sport_people.csv` says what the person looks like: each is cropped around its
person, and two to four are put side by side. Captions are those of `photo_words.py`, for somebody and for nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from cut_out_people import read_labels
from lsp_to_refhuman import Person, Split, is_single, read_photos
from photo_words import absent_caption, captions
from user_errors import Command

from humar_edge.data.refhuman import read_image

SIDES = {2: ("left", "right"), 3: ("left", "middle", "right"), 4: ("left", None, None, "right")}
"""What the places of so many photographs side by side are called, from the left."""
NUMBERS = {2: 0.5, 3: 0.35, 4: 0.15}
"""People in a picture -> share of the pictures."""
OFTEN = {"woman": 3.0, "girl": 3.0, "boy": 2.0}
"""How often who is rare in the table is drawn; others 1."""
CAPTIONS = 3
"""Most captions per person."""
ABSENT = 2
"""Captions for nobody tried per picture."""
STRANGERS = 3
"""People of other pictures whose looks they may take."""
MARGIN = 0.7
"""Most of the surroundings kept on each side, of the size of the person's box."""
WIDEST = 1.1
"""Width over height of a person's box, beyond which the person would make the picture too flat."""
LONG = 384
"""Longer side of a picture, pixels."""


def crop(
    photo: dict[str, Any], image: np.ndarray, height: int, rng: np.random.Generator
) -> tuple[np.ndarray, int, int, float]:
    """A part of the photograph with its whole person, scaled to a height in pixels.

    Returns:
        uint8 [height,W,3], x and y of its corner in the photograph, pixels, and its scale.
    """
    x, y, w, h = photo["bbox"]
    spare = np.array([x, y, image.shape[1] - x - w, image.shape[0] - y - h]).clip(0)
    left, top, right, bottom = np.minimum(spare, MARGIN * np.array([w, h, w, h])) * rng.random(4) ** 0.5
    x0, y0 = max(0, int(x - left)), max(0, int(y - top))
    part = image[y0 : int(np.ceil(y + h + bottom)), x0 : int(np.ceil(x + w + right))]
    scale = height / part.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(part.shape[1] * scale)), height)
    return cv2.resize(part, size, interpolation=method), x0, y0, scale


def joined(people: list[dict[str, Any]], pack: Path, rng: np.random.Generator) -> tuple[np.ndarray, list[Person]]:
    """The photographs side by side.

    Returns:
        uint8 [H,W,3] BGR with a longer side of LONG, and where each person is in it.
    """
    parts = [crop(person, read_image(pack / person["file"]), LONG, rng) for person in people]
    scale = min(1.0, LONG / sum(part.shape[1] for part, *_ in parts))
    whole = np.hstack([part for part, *_ in parts])
    size = (round(whole.shape[1] * scale), round(whole.shape[0] * scale))
    truth: list[Person] = []
    offset = 0.0
    for person, (part, x0, y0, zoom) in zip(people, parts, strict=True):
        keypoints = np.array(person["keypoints"], float).reshape(17, 3)
        keypoints[:, :2] = ((keypoints[:, :2] - (x0, y0)) * zoom + (offset, 0)) * scale
        keypoints[keypoints[:, 2] == 0] = 0
        x, y, w, h = person["bbox"]
        box = np.array([(x - x0) * zoom + offset, (y - y0) * zoom, w * zoom, h * zoom]) * scale
        truth.append((box.round(1).tolist(), keypoints.round(1).reshape(-1).tolist()))
        offset += part.shape[1]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), truth


def usable(photo: dict[str, Any]) -> bool:
    """Whether a photograph may be trained on and is not too flat."""
    return is_single(photo) and photo["bbox"][2] <= WIDEST * photo["bbox"][3]


@click.command(cls=Command)
@click.argument("pack", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", type=click.IntRange(1), default=3000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(pack: Path, out: Path, pictures: int, seed: int) -> None:
    """Join the single people of PACK/lsp to pictures of two to four in OUT (training split)."""
    table = read_labels()
    known = [(photo, table.get(Path(photo["file"]).stem)) for photo in read_photos(pack) if usable(photo)]
    pairs = [(photo, label) for photo, label in known if label is not None]
    if len(pairs) < max(NUMBERS):
        raise click.UsageError(
            f"{pack} holds {len(pairs)} photographs that the table describes, fewer than a picture needs"
        )
    (out / "images").mkdir(parents=True, exist_ok=True)
    rng, split = np.random.default_rng(seed), Split()
    weights = np.array([OFTEN.get(label["gender"], 1.0) for _, label in pairs])
    weights /= weights.sum()
    with click.progressbar(range(pictures), label="pictures") as bar:
        for index in bar:
            number = int(rng.choice(list(NUMBERS), p=list(NUMBERS.values())))
            drawn = [pairs[k] for k in rng.choice(len(pairs), number, replace=False, p=weights)]
            people = [label for _, label in drawn]
            image, truth = joined([photo for photo, _ in drawn], pack, rng)
            name, size = f"joined_{index:06d}.jpg", (image.shape[1], image.shape[0])
            cv2.imwrite(str(out / "images" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            for at, person in enumerate(truth):
                for text in captions(people, at, SIDES[number][at], CAPTIONS, rng):
                    split.add(name, size, text, person)
            strangers = [pairs[k][1] for k in rng.integers(len(pairs), size=STRANGERS)]
            absent = {absent_caption(people, strangers, rng) for _ in range(ABSENT)}
            for text in sorted(filter(None, absent)):
                split.add(name, size, text, None)
    split.write(out / "RefHuman_train.json")
    click.echo(f"{pictures} pictures, {len(split.images)} prompts")


if __name__ == "__main__":
    main()
