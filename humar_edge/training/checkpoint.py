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


def _write(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, folder / name)


def save(
    path: Path, network: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write a checkpoint folder; until it is complete, the previous one stays.

    Args:
        path: Folder to write.
        network: Weights being trained.
        average: Their exponential moving average, the weights to use.
        optimizer: For resuming.
        state: JSON-compatible: combination, components, sizes, step, metrics.
    """
    building, old = path.with_name(f"{path.name}.{os.getpid()}.tmp"), path.with_name(f"{path.name}.old")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    _write(building, WEIGHTS, network.state_dict())
    _write(building, AVERAGE, average)
    torch.save(optimizer.state_dict(), building / OPTIMIZER)
    (building / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    building.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def read_state(path: Path) -> dict[str, Any]:
    """State of a checkpoint folder; a kill between two renames leaves `<name>.old`, which then counts.

    Raises:
        CheckpointError: There is no readable checkpoint.
    """
    folder = locate(path)
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no readable {STATE}: {error}") from error
    return state


def locate(path: Path) -> Path:
    """The folder of a checkpoint, or of the one it was replacing when the writer was killed."""
    for folder in (path, path.with_name(f"{path.name}.old")):
        if (folder / STATE).is_file():
            return folder
    raise CheckpointError(f"{path} is not a checkpoint folder (no {STATE})")


def read_weights(path: Path, name: str = AVERAGE) -> dict[str, Tensor]:
    """Weights of a checkpoint folder.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(locate(path) / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path / name} cannot be read: {error}") from error
    return tensors


def read_optimizer(path: Path) -> dict[str, Any]:
    """Optimizer state of a checkpoint folder; tensors and plain values only, no code is run."""
    try:
        state: dict[str, Any] = torch.load(locate(path) / OPTIMIZER, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path / OPTIMIZER} cannot be read: {error}") from error
    return state
