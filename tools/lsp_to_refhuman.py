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

PLAIN = ("the person", "person", "the athlete", "someone", "the only person", "a person", "the player")
ABSENT = {"red": "green", "green": "red", "blue": "orange", "orange": "blue", "black": "yellow", "yellow": "purple",
          "white": "red", "gray": "yellow", "navy": "yellow", "brown": "blue", "beige": "blue", "pink": "green",
          "purple": "yellow"}  # fmt: skip
"""Upper garment's colour -> a colour that nobody would take it for."""


def is_held_out(photo: dict[str, Any]) -> bool:
    """Whether a photo is one of the validation split, of which nothing may be trained on."""
    return 2 <= photo["people_detected"] <= 4 and photo["caption"] is not None


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


def _split(photos: list[dict[str, Any]], pack: Path, out: Path, single: bool) -> dict[str, list[dict[str, Any]]]:
    """Copy the photos of a split and describe them."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, photo in enumerate(photos):
        name = Path(photo["file"]).name
        shutil.copy(pack / photo["file"], out / "images" / name)
        for caption, absent in _prompts(photo, index) if single else [(photo["caption"], False)]:
            key = len(images) + 1
            images.append({"id": key, "file_name": name, "width": photo["w"], "height": photo["h"], "caption": caption})
            box = [0, 0, 0, 0] if absent else photo["bbox"]
            annotations.append(
                {
                    "id": key,
                    "image_id": key,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": box,
                    "area": box[2] * box[3] * 0.53,
                    "segmentation": [],
                    "keypoints": [0] * 51 if absent else photo["keypoints"],
                    "num_keypoints": 0 if absent else photo["num_keypoints"],
                    **({"absent": True} if absent else {}),
                }
            )
    return {"images": images, "annotations": annotations}


@click.command(cls=Command)
@click.argument("pack", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(pack: Path, out: Path) -> None:
    """Convert PACK/lsp to a RefHuman-format folder OUT."""
    if not (pack / "lsp" / "lsp.json").is_file():
        raise click.UsageError(f"{pack} holds no lsp/lsp.json; give the folder of the pack")
    photos = json.loads((pack / "lsp" / "lsp.json").read_text(encoding="utf-8"))
    (out / "images").mkdir(parents=True, exist_ok=True)
    splits = {
        "train": [photo for photo in photos if photo["people_detected"] <= 1],
        "val": [photo for photo in photos if is_held_out(photo)],
    }
    for name, chosen in splits.items():
        content = _split(chosen, pack, out, single=name == "train")
        (out / f"RefHuman_{name}.json").write_text(json.dumps(content), encoding="utf-8")
        click.echo(f"{name}: {len(chosen)} photos, {len(content['images'])} prompts")


if __name__ == "__main__":
    main()
