"""Convert the pose-only photos of a street pack (`lsp/lsp.json`) to RefHuman format.

Only photos on which a detector saw at most one person are used, so that "the person" and the labelled colours mean
exactly one. The faces are not annotated and there are no masks; training ignores visibility where there is no mask.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

PLAIN = ("the person", "person", "the athlete", "someone", "the only person", "a person", "the player")
ABSENT = {"red": "green", "green": "red", "blue": "orange", "orange": "blue", "black": "yellow", "yellow": "purple",
          "white": "red", "gray": "yellow", "navy": "yellow", "brown": "blue", "beige": "blue", "pink": "green",
          "purple": "yellow"}  # fmt: skip
"""Upper garment's colour -> a colour that nobody would take it for."""


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


@click.command()
@click.argument("pack", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(pack: Path, out: Path) -> None:
    """Convert PACK/lsp to a RefHuman-format folder OUT."""
    photos = json.loads((pack / "lsp" / "lsp.json").read_text(encoding="utf-8"))
    (out / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, photo in enumerate(p for p in photos if p["people_detected"] <= 1):
        name = Path(photo["file"]).name
        shutil.copy(pack / photo["file"], out / "images" / name)
        for caption, absent in _prompts(photo, index):
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
    target = out / "RefHuman_train.json"
    target.write_text(json.dumps({"images": images, "annotations": annotations}), encoding="utf-8")
    click.echo(f"{len({i['file_name'] for i in images})} photos, {len(images)} prompts -> {target}")


if __name__ == "__main__":
    main()
