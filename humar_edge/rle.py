"""Run-length encoding of masks in COCO's format, without pycocotools.

Runs go down the columns (Fortran order) and start with the run of zeros. The compressed form is COCO's `counts` string:
from the fourth run on the difference to the run two before is stored, in groups of five bits, least significant first,
bit 5 of each character saying that more follow, 48 added to make it printable.
"""

from __future__ import annotations

import numpy as np


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a bool mask [H, W], column by column, zeros first.

    Example:
        >>> run_lengths(np.array([[False, True], [False, True]]))
        [2, 2]
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    if not flat.size:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def _to_text(counts: list[int]) -> str:
    characters: list[str] = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            # Bit 4 is the sign of what is left: stop once the remaining bits only repeat it.
            more = value != (-1 if group & 0x10 else 0)
            characters.append(chr(group + (0x20 if more else 0) + 48))
    return "".join(characters)


def _from_text(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def encode(mask: np.ndarray) -> dict[str, object]:
    """COCO's compressed RLE of a bool mask [H, W]: `{"size": [H, W], "counts": str}`."""
    height, width = mask.shape
    return {"size": [int(height), int(width)], "counts": _to_text(run_lengths(mask))}


def decode(rle: dict) -> np.ndarray:
    """The bool mask [H, W] of an RLE whose counts are a string (compressed) or a list of runs."""
    counts = rle["counts"]
    runs = _from_text(counts) if isinstance(counts, str) else [int(count) for count in counts]
    height, width = rle["size"]
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")
