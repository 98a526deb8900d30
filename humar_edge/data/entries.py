"""One entry of a data set in RefHuman format: a picture, a caption, and the person it means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.data.masks import segmentation_mask
from humar_edge.errors import DataError

STROKES, STROKE_POINTS = 5, 12
"""Alternative scribbles per person, and points per scribble."""


class Broken(Exception):
    """Reason for which an entry cannot be used."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One picture with one caption and the person it means (or nobody).

    Attributes:
        id: id of the entry in the JSON's `images`.
        image_path: the picture; several entries may share one.
        caption: the referring expression.
        width: width of the picture in pixels.
        height: height of the picture in pixels.
        bbox: float32 [4], x, y, width, height in pixels, inside the picture; zeros when absent.
        keypoints: float32 [17, 3], x, y in pixels and v (0 unlabelled, 1 hidden, 2 visible); zeros when absent.
        segmentation: polygons, each float32 [N, 2], or a COCO run-length code; an empty tuple when there is no mask.
        area: area of the person in square pixels, as annotated (the scale of OKS); 0 when absent.
        scribble: int32 [5, 12, 2], five alternative strokes of twelve (x, y) points; None when there is none.
        absent: True when the caption fits nobody in the picture.
        attributes: one character per name in the index's `attributes`: 1 true of the person, 0 false, ? unknown; empty
            when the annotation says nothing.
    """

    id: int
    image_path: Path
    caption: str
    width: int
    height: int
    bbox: np.ndarray
    keypoints: np.ndarray
    segmentation: tuple[np.ndarray, ...] | dict[str, Any]
    area: float
    scribble: np.ndarray | None
    absent: bool
    attributes: str = ""

    @property
    def has_mask(self) -> bool:
        """Whether the person's mask is annotated."""
        return bool(self.segmentation)

    @property
    def box_xyxy(self) -> np.ndarray:
        """float32 [4], x1, y1, x2, y2 in pixels."""
        x, y, w, h = self.bbox
        return np.array([x, y, x + w, y + h], dtype=np.float32)

    def fits(self, picture: np.ndarray) -> bool:
        """Whether a picture [H,W,...] has the size that was annotated; else all places in it are wrong."""
        return picture.shape[:2] == (self.height, self.width)

    def mask(self) -> np.ndarray:
        """The person's mask, bool [height, width]; empty when absent or not annotated."""
        return segmentation_mask(self.segmentation, self.height, self.width)


def read_entry(
    image: dict[str, Any], path: Path, found: list[dict[str, Any]], repaired: Counter[str], attributes: int
) -> Entry:
    """Check one entry and convert it; raises `Broken` with the reason if it cannot be used."""
    width, height = (_whole(image.get(side)) for side in ("width", "height"))
    caption = image.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        raise Broken("no caption")
    if not _is_unicode(caption):
        raise Broken("caption is not Unicode")
    usable = [annotation for annotation in found if not annotation.get("iscrowd")]
    if len(usable) != 1:
        reason = "several annotations" if usable else "crowd annotation" if found else "no annotation"
        raise Broken(reason)
    annotation = usable[0]
    common: dict[str, Any] = {
        "id": _whole(image.get("id"), "bad id", 0),
        "image_path": path,
        "caption": " ".join(caption.split()),
        "width": width,
        "height": height,
    }
    if annotation.get("absent"):
        nothing: dict[str, Any] = {"segmentation": (), "area": 0.0, "scribble": None, "absent": True}
        return Entry(**common, **nothing, bbox=_zeros(4), keypoints=_zeros(17, 3))
    bbox = _box(annotation.get("bbox"), width, height, repaired)
    keypoints = _numbers(annotation.get("keypoints"), 51, "bad keypoints").reshape(17, 3)
    keypoints[keypoints[:, 2] <= 0] = 0
    if not keypoints[:, 2].any():
        raise Broken("no keypoints")
    segmentation = _segmentation(annotation.get("segmentation"), width, height)
    if not segmentation:
        repaired["no mask"] += 1
    area = _area(annotation.get("area"))
    if area is None:
        area = float(bbox[2] * bbox[3])
        repaired["no area, box area used"] += 1
    scribble = _scribble(annotation.get("scribble"), width, height)
    if scribble is None:
        repaired["no scribble of 5x12 points"] += 1
    return Entry(
        **common,
        bbox=bbox,
        keypoints=keypoints,
        segmentation=segmentation,
        area=area,
        scribble=scribble,
        absent=False,
        attributes=_attributes(annotation.get("attributes", ""), attributes, repaired),
    )


def _attributes(value: Any, count: int, repaired: Counter[str]) -> str:
    if not value:
        return ""
    if isinstance(value, str) and len(value) == count and set(value) <= set("01?"):
        return value
    repaired["attributes that do not fit their table"] += 1
    return ""


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype=np.float32)


def _whole(value: Any, reason: str = "bad width or height", least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise Broken(reason)
    return int(value)


def _numbers(value: Any, count: int, reason: str) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise Broken(reason) from error
    if numbers.size != count or not np.isfinite(numbers).all():
        raise Broken(reason)
    return numbers.copy()


def _box(value: Any, width: int, height: int, repaired: Counter[str]) -> np.ndarray:
    x, y, w, h = _numbers(value, 4, "bad box")
    x1, x2 = np.clip([x, x + w], 0, width)
    y1, y2 = np.clip([y, y + h], 0, height)
    if w <= 0 or h <= 0 or x2 - x1 < 1 or y2 - y1 < 1:
        raise Broken("degenerate box")
    bbox = np.array([x1, y1, x2 - x1, y2 - y1], dtype=np.float32)
    if np.abs(bbox - (x, y, w, h)).max() > 1:
        repaired["box clipped to the picture"] += 1
    return bbox


def _area(value: Any) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value) and value > 0:
        return float(value)
    return None


def _segmentation(value: Any, width: int, height: int) -> tuple[np.ndarray, ...] | dict[str, Any]:
    if isinstance(value, dict):
        try:
            segmentation_mask(value, height, width)
        except (DataError, TypeError, ValueError) as error:
            raise Broken("bad mask") from error
        return value
    if not isinstance(value, list):
        return ()
    polygons = []
    for flat in value:
        try:
            corners = np.asarray(flat, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise Broken("bad mask") from error
        if corners.ndim != 1 or corners.size % 2 or not np.isfinite(corners).all():
            raise Broken("bad mask")
        if corners.size >= 6:
            polygons.append(corners.reshape(-1, 2))
    return tuple(polygons)


def _scribble(value: Any, width: int, height: int) -> np.ndarray | None:
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.size != STROKES * STROKE_POINTS * 2 or not np.isfinite(points).all():
        return None
    strokes = np.floor(points.reshape(STROKES, STROKE_POINTS, 2))
    return np.clip(strokes, 0, [width - 1, height - 1]).astype(np.int32)


def _is_unicode(text: str) -> bool:
    """Whether text has no half of a pair of surrogates, such as half an emoji, which JSON can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
