"""Checkpoints: a folder with safetensors and a JSON state, replaced as a whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from humar_edge.errors import CheckpointError

STATE, WEIGHTS, AVERAGE, OPTIMIZER = "state.json", "model.safetensors", "ema.safetensors", "optimizer.pt"
STEP_PREFIX = "step-"
FORMAT = 3
"""What the weights of light networks mean: 1 (not written down) and 2 as `OUTDATED` says, 3 this version's."""
OUTDATED = {"1": "its boxes would have another scale", "2": "it chose among cells, not among people"}
"""Why weights of earlier formats are of no use."""


def _write(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, folder / name)


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk: a rename must not overtake what it renames."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save(
    path: Path,
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: Any,
    state: dict[str, Any],
    *,
    keep: int | None = None,
) -> None:
    """Write a checkpoint folder; until it is complete, the previous one stays.

    Args:
        path: Folder to write.
        network: Weights being trained.
        average: Their exponential moving average, the weights to use.
        optimizer: For resuming; None leaves it out.
        state: JSON-compatible: combination, components, sizes, step, metrics.
        keep: Checkpoints of the run to keep, this one included; earlier ones become `step-N` beside it. None: it has
            no history, what it replaces is gone, and what lies beside it is not its own.

    Raises:
        CheckpointError: It cannot be written.
    """
    building, old = path.with_name(f"{path.name}.{os.getpid()}.tmp"), path.with_name(f"{path.name}.old")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        _write(building, WEIGHTS, network.state_dict())
        _write(building, AVERAGE, average)
        if optimizer is not None:
            torch.save(optimizer.state_dict(), building / OPTIMIZER)
        document = {"format": FORMAT} | state
        (building / STATE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for file in (*building.iterdir(), building):
            _flush(file)
        # at every moment `path` or `old` is a complete checkpoint
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        building.rename(path)
        _flush(path.parent)
        if old.exists():
            _retire(old, keep, state.get("step"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _retire(old: Path, keep: int | None, step: int | None) -> None:
    """Keep a replaced checkpoint under its step, and delete those beyond the last `keep - 1`."""
    if keep is None:
        shutil.rmtree(old, ignore_errors=True)
        return
    worth = keep > 1
    try:
        reached = int(read_state(old).get("step", 0))
        worth = worth and reached != step
        kept = old.with_name(f"{STEP_PREFIX}{reached:08d}")
    except CheckpointError:  # damaged from outside
        worth = False
    if worth:
        shutil.rmtree(kept, ignore_errors=True)
        old.rename(kept)
    else:
        shutil.rmtree(old, ignore_errors=True)
    for surplus in earlier(old.parent)[keep - 1 :]:
        shutil.rmtree(surplus, ignore_errors=True)


def earlier(folder: Path) -> list[Path]:
    """The `step-N` checkpoints of a run, newest first."""
    found = [path for path in folder.glob(f"{STEP_PREFIX}*") if path.name.removeprefix(STEP_PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(STEP_PREFIX)), reverse=True)


def clean(path: Path) -> None:
    """Remove what writers of this checkpoint left unfinished when they were killed."""
    for unfinished in path.parent.glob(f"{path.name}.*.tmp"):
        shutil.rmtree(unfinished, ignore_errors=True)


def candidates(path: Path) -> list[Path]:
    """Where a run may be continued, best first: the checkpoint, the one it was replacing, earlier ones."""
    found = [path, path.with_name(f"{path.name}.old"), *earlier(path.parent)]
    return [folder for folder in found if (folder / STATE).is_file()]


def reason(error: Exception, length: int = 160) -> str:
    """Last line of an error of PyTorch's, cut to a readable length (it may list hundreds of names)."""
    line = (str(error).splitlines() or [type(error).__name__])[-1].strip()
    return line if len(line) <= length else line[: length - 3] + "..."


def verify(path: Path) -> None:
    """Read everything that resuming needs.

    Raises:
        CheckpointError: Something is missing or damaged.
    """
    read_state(path)
    for name in (WEIGHTS, AVERAGE):
        read_weights(path, name)
    read_optimizer(path)


def read_state(path: Path) -> dict[str, Any]:
    """State of a checkpoint folder; a kill between two renames leaves `<name>.old`, which then counts.

    Raises:
        CheckpointError: There is no readable checkpoint, or its weights mean something else than this version's.
    """
    folder = locate(path)
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        written = state.get("format", 1)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder} holds no readable {STATE}: {error}") from error
    if written != FORMAT:
        why = OUTDATED.get(str(written))
        advice = f"train it again, {why}" if why else "update humar-edge"
        raise CheckpointError(f"{folder} has format {written}, this version reads {FORMAT}: {advice}")
    return state


def locate(path: Path) -> Path:
    """The folder of a checkpoint, or of the one it was replacing when the writer was killed."""
    whole = Path(os.path.abspath(path))  # "." has no name
    for folder in (whole, whole.with_name(f"{whole.name}.old")):
        if (folder / STATE).is_file():
            return folder
    raise CheckpointError(f"{path} is not a checkpoint folder (no {STATE})")


def read_weights(path: Path, name: str = AVERAGE) -> dict[str, Tensor]:
    """Weights of a checkpoint folder.

    Raises:
        CheckpointError: The file is missing or damaged, or of another format.
    """
    read_state(path)
    try:
        tensors: dict[str, Tensor] = load_file(locate(path) / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path / name} cannot be read: {error}") from error
    return tensors


def read_optimizer(path: Path) -> dict[str, Any]:
    """Optimizer state of a checkpoint folder; tensors and plain values only, no code is run."""
    try:
        state: dict[str, Any] = torch.load(locate(path) / OPTIMIZER, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged files the unpickler raises whatever it stumbles over
        # not the error's own text: PyTorch's takes many lines and advises to let the file run code
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise CheckpointError(
            f"{path / OPTIMIZER} cannot be read ({reason}): it is damaged, or holds more than tensors; "
            "continue an earlier checkpoint, or take the weights alone with --init"
        ) from error
    return state
