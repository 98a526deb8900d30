"""Index of a data set in RefHuman format (COCO-like JSON, one `images` entry per referring expression)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.data.entries import Broken, Entry, read_entry
from humar_edge.errors import DataError


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
                    raise Broken("bad id")
                if key in seen:
                    raise Broken("id used twice")
                seen.add(key)
                path = _picture_path(root / "images", name, pictures)
                found = annotations.get(key, [])
                index.entries.append(read_entry(image, path, found, index.repaired, len(index.attributes)))
            except Broken as reason:
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


def _picture_path(folder: Path, name: str, known: dict[str, Path | None]) -> Path:
    """Path of an existing picture below the folder; `known` remembers the answers, since captions share pictures."""
    if not name:
        raise Broken("no file name")
    if name not in known:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise Broken("picture outside images/")
        path = folder / name
        known[name] = path if path.is_file() else None
    found = known[name]
    if found is None:
        raise Broken("missing picture")
    return found
