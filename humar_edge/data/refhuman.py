"""Index of a data set in RefHuman format (COCO-like JSON, one `images` entry per referring expression)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.data.masks import segmentation_mask
from humar_edge.errors import DataError

STROKES, STROKE_POINTS = 5, 12
"""Alternative scribbles per person, and points per scribble."""


class _Broken(Exception):
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


@dataclass(frozen=True)
class RefHumanIndex(Sequence[Entry]):
    """The usable entries of one split, and what was left out.

    Attributes:
        root: folder of the data set.
        split: name of the split.
        entries: the usable entries, in the order of the file.
        skipped: reason -> number of entries left out.
        repaired: what was mended or is lacking -> number of entries that are used all the same.
        broken: (entry id, file name, reason) of every entry left out.
        attributes: what the entries' `attributes` speak of, such as "red torso"; empty in most data sets.
    """

    root: Path
    split: str
    entries: list[Entry]
    skipped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[Any, str, str]] = field(default_factory=list)
    attributes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        return self.entries[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @classmethod
    def load(cls, directory: str | Path, split: str = "val") -> RefHumanIndex:
        """Read `RefHuman_<split>.json` below a folder that also holds `images/`.

        Broken entries (no picture, no caption, no or several annotations, crowd, no keypoints, an empty box, numbers
        that are none, ...) are counted by reason and skipped.

        Args:
            directory: folder of the data set.
            split: `train`, `val`, or the name of another such file.

        Raises:
            DataError: the file is missing, is no JSON, is not in RefHuman format, or holds no usable entry.
        """
        root = Path(directory)
        content = _read_json(root, split)
        annotations: dict[Any, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            annotations.setdefault(_key(annotation.get("image_id")), []).append(annotation)
        names = content.get("attributes")
        index = cls(root, split, [], attributes=tuple(map(str, names)) if isinstance(names, list) else ())
        pictures: dict[str, Path | None] = {}
        seen: set[Any] = set()
        for image in content["images"]:
            name = str(image.get("file_name", ""))
            key = _key(image.get("id"))
            try:
                if key is None:
                    raise _Broken("bad id")
                if key in seen:
                    raise _Broken("id used twice")
                seen.add(key)
                path = _picture_path(root / "images", name, pictures)
                found = annotations.get(key, [])
                index.entries.append(_entry(image, path, found, index.repaired, len(index.attributes)))
            except _Broken as reason:
                index.skipped[str(reason)] += 1
                index.broken.append((image.get("id"), name, str(reason)))
        strays = sum(len(found) for key, found in annotations.items() if key not in seen)
        if strays:
            index.repaired["annotation of an entry that does not exist"] += strays
        if not index.entries:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in index.skipped.most_common(3))
            raise DataError(f"{root / _file_name(split)} holds no usable entry ({reasons or 'it is empty'})")
        return index


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture of any mode (grey, palette, alpha, CMYK, 16 bit) as BGR.

    The EXIF orientation is always applied, so that width and height are those that a viewer shows. Alpha is dropped.

    Returns:
        uint8 [height, width, 3], BGR.

    Raises:
        DataError: the file is missing or is no picture.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path} is not a picture that OpenCV can read")
    return np.asarray(image, dtype=np.uint8)


def read_annotated(entries: Sequence[Entry]) -> np.ndarray:
    """Read the one picture of some entries, as `read_image` does.

    Raises:
        DataError: it cannot be read, or is of another size than an entry says.
    """
    path = entries[0].image_path
    image = read_image(path)
    for entry in entries:
        if not entry.fits(image):
            sizes = f"{image.shape[1]}x{image.shape[0]}, annotated {entry.width}x{entry.height}"
            raise DataError(f"{path} is of another size than annotated ({sizes})")
    return image


def available_splits(directory: str | Path) -> list[str]:
    """Names of the splits in a folder, `train` first."""
    names = [path.stem.removeprefix("RefHuman_") for path in Path(directory).glob("RefHuman_*.json")]
    return sorted(names, key=lambda name: (name != "train", name))


def _file_name(split: str) -> str:
    return f"RefHuman_{split}.json"


def _read_json(root: Path, split: str) -> dict[str, Any]:
    path = root / _file_name(split)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the folder that holds images/ and RefHuman_*.json")
    if not path.is_file():
        found = ", ".join(available_splits(root)) or "none"
        raise DataError(f"{path} does not exist (splits in {root}: {found})")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable JSON file: {error}") from error
    parts = ("images", "annotations")
    if not isinstance(content, dict) or not all(_is_records(content.get(part)) for part in parts):
        raise DataError(f"{path} is not in RefHuman format: it needs the lists `images` and `annotations`")
    if content["images"] and not any("caption" in image for image in content["images"]):
        raise DataError(f"{path} is not in RefHuman format: no entry of `images` has a caption (plain COCO?)")
    return content


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _key(value: Any) -> Any:
    """An id as it is looked up, None for what is no id, such as a list."""
    return value if isinstance(value, str | int | float) else None


def _is_unicode(text: str) -> bool:
    """Whether text has no half of a pair of surrogates, such as half an emoji, which JSON can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _picture_path(folder: Path, name: str, known: dict[str, Path | None]) -> Path:
    """Path of an existing picture below the folder; `known` remembers the answers, since captions share pictures."""
    if not name:
        raise _Broken("no file name")
    if name not in known:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _Broken("picture outside images/")
        path = folder / name
        known[name] = path if path.is_file() else None
    found = known[name]
    if found is None:
        raise _Broken("missing picture")
    return found


def _entry(
    image: dict[str, Any], path: Path, found: list[dict[str, Any]], repaired: Counter[str], attributes: int
) -> Entry:
    """Check one entry and convert it; raises _Broken with the reason if it cannot be used."""
    width, height = (_whole(image.get(side)) for side in ("width", "height"))
    caption = image.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        raise _Broken("no caption")
    if not _is_unicode(caption):
        raise _Broken("caption is not Unicode")
    usable = [annotation for annotation in found if not annotation.get("iscrowd")]
    if len(usable) != 1:
        reason = "several annotations" if usable else "crowd annotation" if found else "no annotation"
        raise _Broken(reason)
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
        raise _Broken("no keypoints")
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
        raise _Broken(reason)
    return int(value)


def _numbers(value: Any, count: int, reason: str) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise _Broken(reason) from error
    if numbers.size != count or not np.isfinite(numbers).all():
        raise _Broken(reason)
    return numbers.copy()


def _box(value: Any, width: int, height: int, repaired: Counter[str]) -> np.ndarray:
    x, y, w, h = _numbers(value, 4, "bad box")
    x1, x2 = np.clip([x, x + w], 0, width)
    y1, y2 = np.clip([y, y + h], 0, height)
    if w <= 0 or h <= 0 or x2 - x1 < 1 or y2 - y1 < 1:
        raise _Broken("degenerate box")
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
            raise _Broken("bad mask") from error
        return value
    if not isinstance(value, list):
        return ()
    polygons = []
    for flat in value:
        try:
            corners = np.asarray(flat, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise _Broken("bad mask") from error
        if corners.ndim != 1 or corners.size % 2 or not np.isfinite(corners).all():
            raise _Broken("bad mask")
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
