"""What a run reads: the splits of its data sets, and folders of plain pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from humar_edge.data.refhuman import RefHumanIndex, available_splits
from humar_edge.errors import DataError


def open_indices(folders: Sequence[Path], split: str, console: Console) -> list[RefHumanIndex]:
    """A split of all data sets that have it (`train` all must have); says what was left out."""
    found: list[RefHumanIndex] = []
    for folder in folders:
        if split in available_splits(folder) or split == "train":
            index = RefHumanIndex.load(folder, split)
            if index.skipped:
                reasons = ", ".join(f"{reason}: {count}" for reason, count in index.skipped.most_common())
                console.print(f"{folder}, {split}: {sum(index.skipped.values())} entries left out ({reasons})")
            found.append(index)
    return found


def list_pictures(folder: Path | None) -> list[Path]:
    """Pictures in a folder, in order; none without a folder.

    Raises:
        DataError: The folder holds none.
    """
    if folder is None:
        return []
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not found:
        raise DataError(f"{folder} holds no pictures (jpg, png, webp)")
    return found
