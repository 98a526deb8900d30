"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from humar_edge.errors import SinkError


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; folders are made.

    Raises:
        SinkError: The file cannot be written; what was there stays.
    """
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Let `save` write a temporary file beside `path`, then rename it; folders are made.

    Raises:
        SinkError: The file cannot be written, or `save` finds its format unknown; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(temporary)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError):  # where no folder could be made there is no file; the error above is the one to tell
            temporary.unlink()
