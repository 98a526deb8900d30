"""Small data sets in RefHuman format for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def keypoints_in(box: tuple[float, float, float, float], places: np.ndarray | None = None) -> list[float]:
    """51 numbers: keypoints at `places` ([17, 2] in [0, 1] of the box xyxy), all visible."""
    low, high = np.array(box[:2], dtype=float), np.array(box[2:], dtype=float)
    grid = np.stack([np.linspace(0.1, 0.9, 17), np.linspace(0.05, 0.95, 17)], 1) if places is None else places
    return np.c_[low + grid * (high - low), np.full(17, 2)].ravel().tolist()


def annotation(number: int, box: tuple[float, float, float, float], **changes: Any) -> dict[str, Any]:
    """A complete annotation of a rectangular person, box xyxy."""
    x1, y1, x2, y2 = box
    stroke = [[int(x), int(y)] for x, y in np.linspace([x1 + 2, y1 + 2], [x2 - 3, y2 - 3], 12)]
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        "keypoints": keypoints_in(box),
        "num_keypoints": 17,
        "scribble": [stroke] * 5,
    } | changes


def nobody(number: int) -> dict[str, Any]:
    """The annotation of a caption that fits nobody."""
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "absent": True,
        "bbox": [0, 0, 0, 0],
        "area": 0,
        "segmentation": [],
        "keypoints": [0] * 51,
        "num_keypoints": 0,
    }


def image(number: int, caption: str, file_name: str = "a.png", width: int = 160, height: int = 120) -> dict[str, Any]:
    """An entry of `images`."""
    return {"id": number, "file_name": file_name, "width": width, "height": height, "caption": caption}


def write_split(
    root: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    frames: dict[str, np.ndarray] | None = None,
    split: str = "val",
) -> Path:
    """Write one split; pictures not in `frames` are grey, except those whose name begins with "missing"."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (root / f"RefHuman_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    for number, record in enumerate(images):
        path = root / "images" / record.get("file_name", "unnamed.png")
        if path.exists() or path.name.startswith("missing"):
            continue
        # Every grey is another, so that no two pictures have the same content by accident.
        grey = np.full((record.get("height", 120), record.get("width", 160), 3), 100 + number, np.uint8)
        cv2.imwrite(str(path), (frames or {}).get(path.name, grey))
    return root
