"""Statistics and faults of a data set in RefHuman format."""

from __future__ import annotations

import hashlib
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex, available_splits, read_image
from humar_edge.errors import DataError
from humar_edge.evaluation.evaluator import SIZES, size_of
from humar_edge.evaluation.kinds import KINDS, caption_kind

EXAMPLES = 5
"""Places named per problem."""

HARMLESS = ("crowd annotation", "no keypoints")
"""Reasons for leaving an entry out that RefHuman's own rules foresee."""


@dataclass(frozen=True)
class Problem:
    """One kind of fault: where it is, how often, and a few places."""

    split: str
    what: str
    count: int
    examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"split": self.split, "what": self.what, "count": self.count, "examples": list(self.examples)}


@dataclass(frozen=True)
class Check:
    """Result of `check_dataset`.

    Attributes:
        statistics: split -> figures, see `split_statistics`.
        problems: faults that want mending; none when the data set is sound.
        notes: split -> what was left out or mended by RefHuman's own rules, with counts.
    """

    statistics: dict[str, dict[str, Any]]
    problems: list[Problem]
    notes: dict[str, dict[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        problems = [problem.to_dict() for problem in self.problems]
        return {"statistics": self.statistics, "problems": problems, "notes": self.notes}


def check_dataset(
    directory: Path,
    count_tokens: Callable[[str], int],
    token_length: int,
    decode: bool = True,
    on_picture: Callable[[int], Callable[[], None]] | None = None,
) -> Check:
    """Look for everything that would spoil training or evaluation.

    Args:
        directory: folder with images/ and RefHuman_*.json.
        count_tokens: number of tokens of a caption, special tokens included.
        token_length: longest caption in tokens that a network takes whole.
        decode: also decode every picture and compare its size with the annotation.
        on_picture: called with the number of pictures to decode; returns what to call after each.

    Raises:
        DataError: there is no split, or one is unusable as a whole.
    """
    splits = available_splits(directory)
    if not splits:
        raise DataError(f"{directory} holds no RefHuman_*.json; give the folder that holds images/ and RefHuman_*.json")
    indices = [RefHumanIndex.load(directory, split) for split in splits]
    problems: list[Problem] = []
    for index in indices:
        faults = defaultdict(list)
        for key, name, reason in index.broken:
            if reason not in HARMLESS:
                place = f"entry {key} ({name})"
                # half an emoji in a name cannot be printed
                faults[reason].append(place.encode(errors="backslashreplace").decode())
        for entry in index:
            tokens = count_tokens(entry.caption)
            if tokens > token_length:
                words = textwrap.shorten(entry.caption, 60, placeholder=" ...")
                faults[f"caption over {token_length} tokens"].append(f"entry {entry.id} ({tokens}: {words})")
        problems += _problems(index.split, faults)
    if decode:
        step = on_picture(sum(len(_pictures(index)) for index in indices)) if on_picture else None
        for index in indices:
            problems += _problems(index.split, _picture_faults(index, step))
    problems += _shared(indices)
    notes = {
        index.split: {**{key: index.skipped[key] for key in HARMLESS if index.skipped[key]}, **index.repaired}
        for index in indices
    }
    return Check({index.split: split_statistics(index.entries) for index in indices}, problems, notes)


def split_statistics(entries: Sequence[Entry]) -> dict[str, Any]:
    """Counts of entries, pictures, captions, kinds and sizes.

    Returns:
        `entries`, `pictures`, `absent`, `captions` (different ones), `captions_per_picture`, `words` (mean, longest),
        `kinds`, `sizes`, `keypoints_per_person`, `scribbles`, `masks`.
    """
    present = [entry for entry in entries if not entry.absent]
    words = [len(entry.caption.split()) for entry in entries]
    pictures = len({entry.image_path for entry in entries})
    kinds = Counter(caption_kind(entry.caption) for entry in entries)
    sizes = Counter(size_of(entry) for entry in present)
    labelled = [int((entry.keypoints[:, 2] > 0).sum()) for entry in present]
    return {
        "entries": len(entries),
        "pictures": pictures,
        "absent": len(entries) - len(present),
        "captions": len({entry.caption.lower() for entry in entries}),
        "captions_per_picture": round(len(entries) / pictures, 2),
        "words": {"mean": round(float(np.mean(words)), 2), "longest": max(words)},
        "kinds": {kind: kinds[kind] for kind in KINDS},
        "sizes": {size: sizes[size] for size in SIZES},
        "keypoints_per_person": round(float(np.mean(labelled)), 2) if labelled else None,
        "scribbles": sum(entry.scribble is not None for entry in present),
        "masks": sum(entry.has_mask for entry in present),
    }


def _problems(split: str, faults: Mapping[str, Sequence[str]]) -> list[Problem]:
    return [Problem(split, what, len(places), tuple(places[:EXAMPLES])) for what, places in sorted(faults.items())]


def _pictures(index: RefHumanIndex) -> dict[Path, set[tuple[int, int]]]:
    """Picture -> annotated heights and widths, one where its entries agree."""
    pictures: dict[Path, set[tuple[int, int]]] = defaultdict(set)
    for entry in index:
        pictures[entry.image_path].add((entry.height, entry.width))
    return pictures


def _picture_faults(index: RefHumanIndex, step: Callable[[], None] | None) -> dict[str, list[str]]:
    faults = defaultdict(list)
    for path, sizes in _pictures(index).items():
        try:
            found = read_image(path).shape[:2]
        except DataError:
            faults["unreadable picture"].append(path.name)
        else:
            for height, width in sorted(sizes - {found}):
                place = f"{path.name} ({found[1]}x{found[0]}, annotated {width}x{height})"
                faults["picture of another size than annotated (upright by EXIF)"].append(place)
        if step is not None:
            step()
    return faults


def _shared(indices: Iterable[RefHumanIndex]) -> list[Problem]:
    """Photos that are in several splits, by name or as copies under other names."""
    splits: dict[Path, set[str]] = defaultdict(set)
    for index in indices:
        for path in _pictures(index):
            splits[path].add(index.split)
    places: dict[str, list[str]] = defaultdict(list)
    for path, names in splits.items():
        if len(names) > 1:
            places[_joined(names)].append(path.name)
    for copies in _copies(splits):
        names = set().union(*(splits[path] for path in copies))
        # A picture that is shared by name is reported above.
        if len(names) > 1 and all(len(splits[path]) == 1 for path in copies):
            places[_joined(names)].append(" = ".join(sorted(path.name for path in copies)))
    return [problem for names, found in places.items() for problem in _problems(names, {"same photo in both": found})]


def _joined(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _copies(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of files with the same content; only files of equal length are read."""
    by_length: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_length[path.stat().st_size].append(path)
    groups: dict[bytes, list[Path]] = defaultdict(list)
    for candidates in by_length.values():
        if len(candidates) > 1:
            for path in candidates:
                groups[hashlib.sha256(path.read_bytes()).digest()].append(path)
    return [group for group in groups.values() if len(group) > 1]
