"""Convert the pose-only photos of a street pack (`lsp/lsp.json`) to RefHuman format.

Photos on which a detector saw at most one person become the training split, so that "the person" and the labelled
colours mean exactly one. Those with two to four people and a caption become the validation split: real pictures on
which the right person must be chosen (a caption may fit a second one, so no model reaches 1.0). The faces are not
annotated and there are no masks; training ignores visibility where there is no mask.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
from user_errors import Command

from humar_edge.files import write_text

Person = tuple[list[float], list[float]]
"""Box (x, y, width, height) and keypoints (17 x (x, y, visibility)), pixels."""

PLAIN = ("the person", "person", "the athlete", "someone", "the only person", "a person", "the player")
ABSENT = {"red": "green", "green": "red", "blue": "orange", "orange": "blue", "black": "yellow", "yellow": "purple",
          "white": "red", "gray": "yellow", "navy": "yellow", "brown": "blue", "beige": "blue", "pink": "green",
          "purple": "yellow"}  # fmt: skip
"""Upper garment's colour -> a colour that nobody would take it for."""


def is_held_out(photo: dict[str, Any]) -> bool:
    """Whether a photo is one of the validation split, of which nothing may be trained on."""
    return 2 <= photo["people_detected"] <= 4 and photo["caption"] is not None


def is_single(photo: dict[str, Any]) -> bool:
    """Whether a detector saw nobody else on a photo, so that it may be trained on."""
    return photo["people_detected"] <= 1


def _prompts(photo: dict[str, Any], index: int) -> list[tuple[str, bool]]:
    """Captions of a photo, each with whether it fits nobody."""
    prompts = [(PLAIN[index % len(PLAIN)], False), (PLAIN[(index // 7) % len(PLAIN)], False)]
    if photo["caption"]:
        prompts.append((photo["caption"], False))
    upper, lower = photo["upper"], photo["lower"]
    if upper and upper["conf"] >= 0.7 and upper["color"]:
        prompts.append((f"person wearing a {upper['color']} shirt", False))
        other = ABSENT[upper["color"]]
        if other not in (upper["color2"], lower and lower["color"], lower and lower["color2"]):
            prompts.append((f"person in {other}", True))
    return list(dict.fromkeys(prompts))


def read_photos(pack: Path) -> list[dict[str, Any]]:
    """The pack's photographs.

    Raises:
        click.UsageError: The folder holds none.
    """
    table = pack / "lsp" / "lsp.json"
    if not table.is_file():
        raise click.UsageError(f"{pack} holds no lsp/lsp.json; give the folder of the pack")
    photos: list[dict[str, Any]] = json.loads(table.read_text(encoding="utf-8"))
    return photos


class Split:
    """Prompts of a split in RefHuman format."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, name: str, size: tuple[int, int], caption: str, person: Person | None) -> None:
        """Add a prompt for a person of the picture `name` of size (width, height) pixels, or for nobody (None)."""
        key = len(self.images) + 1
        box, keypoints = person or ([0] * 4, [0] * 51)
        self.images.append({"id": key, "file_name": name, "width": size[0], "height": size[1], "caption": caption})
        self.annotations.append(
            {
                "id": key,
                "image_id": key,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box,
                "area": box[2] * box[3] * 0.53,
                "segmentation": [],
                "keypoints": keypoints,
                "num_keypoints": sum(visibility > 0 for visibility in keypoints[2::3]),
                **({"absent": True} if person is None else {}),
            }
        )

    def write(self, path: Path) -> None:
        """Write the file `RefHuman_*.json`."""
        write_text(path, json.dumps({"images": self.images, "annotations": self.annotations}))


def _split(photos: list[dict[str, Any]], pack: Path, out: Path, single: bool) -> Split:
    """Copy the photos of a split and describe them."""
    split = Split()
    for index, photo in enumerate(photos):
        name = Path(photo["file"]).name
        shutil.copy(pack / photo["file"], out / "images" / name)
        for caption, absent in _prompts(photo, index) if single else [(photo["caption"], False)]:
            person = None if absent else (photo["bbox"], photo["keypoints"])
            split.add(name, (photo["w"], photo["h"]), caption, person)
    return split


@click.command(cls=Command)
@click.argument("pack", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(pack: Path, out: Path) -> None:
    """Convert PACK/lsp to a RefHuman-format folder OUT."""
    photos = read_photos(pack)
    (out / "images").mkdir(parents=True, exist_ok=True)
    splits = {
        "train": [photo for photo in photos if is_single(photo)],
        "val": [photo for photo in photos if is_held_out(photo)],
    }
    for name, chosen in splits.items():
        split = _split(chosen, pack, out, single=name == "train")
        split.write(out / f"RefHuman_{name}.json")
        click.echo(f"{name}: {len(chosen)} photos, {len(split.images)} prompts")


if __name__ == "__main__":
    main()
