"""Which images calibrate: a deterministic choice that covers person sizes, brightness and kinds of captions."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex, available_splits, read_image
from humar_edge.errors import DataError
from humar_edge.evaluation.evaluator import size_of
from humar_edge.evaluation.kinds import caption_kind

LEAST = 8
"""Fewer images than this calibrate nothing."""
CANDIDATES = 4
"""Images looked at per image wanted, for their brightness."""
SHADES = (60, 100, 140)
"""Mean grey values that separate dark, dim, normal and bright pictures."""

TextFeatures = Callable[[str], Mapping[str, np.ndarray]]
"""What turns a caption into the inputs of a vision engine: `text_tokens`, `text_mask`, `sentence`."""


def calibration_entries(folders: Sequence[Path], count: int, seed: int = 0) -> list[Entry]:
    """Choose entries of data sets in RefHuman format, of different pictures, as many of each set as of the others; of
    the training split where there is one.

    Raises:
        DataError: A folder is not in RefHuman format or holds no readable picture, or all of them hold too few.
    """
    entries: list[Entry] = []
    for number, folder in enumerate(folders):
        splits = available_splits(folder)
        if not splits:
            raise DataError(f"{folder} is not a data set in RefHuman format (no RefHuman_<split>.json with images/)")
        share = (count + number) // len(folders)  # these sum to `count`
        chosen = choose(RefHumanIndex.load(folder, splits[0]).entries, share, seed)
        if not chosen:
            raise DataError(f"{folder} holds no readable picture to calibrate with")
        entries += chosen
    if len(entries) < LEAST:
        names = ", ".join(map(str, folders))
        raise DataError(f"{names}: {len(entries)} readable pictures are too few to calibrate (at least {LEAST})")
    return entries


def choose(entries: Sequence[Entry], count: int, seed: int = 0) -> list[Entry]:
    """At most `count` entries of different, readable pictures, spread evenly over strata; deterministic."""
    shuffled = [entries[index] for index in np.random.default_rng(seed).permutation(len(entries))]
    strata: dict[tuple[str, int, str], list[Entry]] = defaultdict(list)
    seen: set[Path] = set()
    for entry in shuffled:
        if entry.image_path in seen:
            continue
        if len(seen) >= count * CANDIDATES:
            break
        seen.add(entry.image_path)
        shade = brightness(entry.image_path)
        if shade is None:
            continue
        size = "absent" if entry.absent else size_of(entry)
        strata[size, int(np.searchsorted(SHADES, shade)), caption_kind(entry.caption)].append(entry)
    chosen: list[Entry] = []
    while len(chosen) < count and strata:
        for key in sorted(strata):
            if len(chosen) < count:
                chosen.append(strata[key].pop(0))
            if not strata[key]:
                del strata[key]
    return sorted(chosen, key=lambda entry: entry.id)


def brightness(path: Path) -> float | None:
    """Mean grey value of a picture, read at an eighth of its size; None when it cannot be read."""
    try:
        data = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if picture is None else float(picture.mean())


def feeds(
    entries: Sequence[Entry], input_size: tuple[int, int], encode: TextFeatures
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a vision engine, one picture at a time, preprocessed as the runtime does it."""
    from humar_edge.runtime.preprocess import prepare

    for entry in entries:
        yield {"image": prepare(read_image(entry.image_path), input_size).image, **encode(entry.caption)}


def positional_feeds(entries: Sequence[Entry], input_size: tuple[int, int]) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a positional engine: the first stroke of every entry that has one."""
    from humar_edge.runtime.preprocess import prepare

    for entry in entries:
        if entry.scribble is None:
            continue
        prepared = prepare(read_image(entry.image_path), input_size)
        points = prepared.letterbox.to_canvas(entry.scribble[0].astype(np.float64))
        yield {"image": prepared.image, "points": points[None].astype(np.float32)}


def calibration_key(model: bytes, words: bytes, entries: Sequence[Entry], preprocessing: str) -> str:
    """What ranges are valid for: pictures (name, size, time), captions, scribbles, preprocessing, and weights.

    Args:
        model: The engine.
        words: All else that its inputs come from: the network that makes word features, its vocabulary.
        entries: What calibrates.
        preprocessing: How pictures are prepared.
    """
    digest = hashlib.sha256(model)
    digest.update(words)
    digest.update(preprocessing.encode())
    for entry in entries:
        stat = entry.image_path.stat()
        digest.update(f"{entry.image_path.name}|{stat.st_size}|{stat.st_mtime_ns}|{entry.caption}\n".encode())
        digest.update(b"" if entry.scribble is None else entry.scribble.tobytes())
    return digest.hexdigest()
