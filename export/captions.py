"""Captions of a data set or a text file, read without looking at pictures or annotations."""

from __future__ import annotations

import json
from pathlib import Path

from humar_edge.data.refhuman import available_splits
from humar_edge.errors import DataError


def read_captions(path: Path) -> list[str]:
    """The different captions of a data set in RefHuman format (all its splits), or the lines of a text file.

    Raises:
        DataError: There are none, or a file cannot be read.
    """
    try:
        if path.is_file():
            found = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}
        else:
            files = [path / f"RefHuman_{split}.json" for split in available_splits(path)]
            contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
            found = {str(image.get("caption", "")).strip() for content in contents for image in content["images"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no readable captions ({error})") from error
    found.discard("")
    if not found:
        raise DataError(f"{path} holds no captions; give a data set in RefHuman format or a file with one per line")
    return sorted(found)
