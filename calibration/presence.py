"""Refit the presence score of a checkpoint in place, and say what that changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import TorchPredictor
from humar_edge.evaluation.presence import presence_summary
from humar_edge.evaluation.run import choose_entries, evaluate
from humar_edge.models.network import HumarNet
from humar_edge.training import checkpoint as storage
from humar_edge.training.build import load_network
from humar_edge.training.presence import PresenceFit, calibrate

SCALE, SHIFT = "transformer.score_scale", "transformer.score_shift"
"""Where the weights keep the fit."""


@dataclass(frozen=True)
class Refit:
    """Result.

    Attributes:
        fit: Scale, shift, threshold, F1.
        before: `AUROC`, `F1` (at the stored threshold), `ECE`, `threshold` of the checkpoint as it was.
        after: The same with the fit, on the same prompts.
        prompts: How many.
        absent: How many of them name nobody.
    """

    fit: PresenceFit
    before: dict[str, float]
    after: dict[str, float]
    prompts: int
    absent: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        counts = {"prompts": self.prompts, "absent": self.absent}
        return {**self.fit._asdict(), **counts, "before": self.before, "after": self.after}


def refit(
    checkpoint: Path,
    data: Path,
    output: Path | None = None,
    *,
    split: str = "val",
    side: int | None = None,
    limit: int = 500,
    on_step: Callable[[], None] | None = None,
) -> Refit:
    """Calibrate a light checkpoint's presence score on held-out prompts and store it.

    Args:
        checkpoint: Folder of a training run.
        data: RefHuman-format data that was not trained on, with captions of absent people.
        output: Folder for another checkpoint (averaged weights, no optimizer); None stores the fit in `checkpoint`
            itself, in the weights being trained and their average; nothing else changes, so that a run can continue.
        split: Split of the data.
        side: Side of the square input it will be used at; another one than in training needs `output`.
        limit: Prompts to use.
        on_step: Called after every prompt of the run that measures the present state.

    Raises:
        ConfigError: The network has no presence score to calibrate, or another `side` without `output`.
        CheckpointError: The checkpoint cannot be read.
        DataError: Only present, or only absent people.
    """
    checkpoint = Path(os.path.abspath(checkpoint))  # "." has no name
    network, state = load_network(checkpoint)
    if not isinstance(network, HumarNet):
        raise ConfigError(f"{checkpoint}: only light networks have a presence score to calibrate")
    trained = (int(state["input_size"][0]), int(state["input_size"][1]))
    height, width = (side, side) if side else trained
    if (height, width) != trained and output is None:
        raise ConfigError("another input size needs another checkpoint: give --output")
    entries = choose_entries(RefHumanIndex.load(data, split).entries, "text", limit)
    length = int(state.get("token_length", 32))
    evaluator = Evaluator()
    evaluate(TorchPredictor(network, (height, width), length), entries, evaluator, on_step=on_step)
    scores = np.array([outcome.score for outcome in evaluator.outcomes], np.float64)
    present = np.array([not outcome.entry.absent for outcome in evaluator.outcomes], bool)
    scale, shift = float(network.transformer.score_scale), float(network.transformer.score_shift)
    fit = calibrate(network, (height, width), entries, length)
    # The score is monotone in the raw log-odds: what the fit makes of each follows without another run.
    logits = (_logit(scores) - shift) / scale
    after = 1 / (1 + np.exp(-(fit.scale * logits + fit.shift)))
    threshold = float(state.get("thresholds", {}).get("score", 0.5))
    result = Refit(
        fit,
        _figures(scores, present, threshold),
        _figures(after, present, fit.threshold),
        len(scores),
        int((~present).sum()),
    )
    thresholds = {**state.get("thresholds", {}), "score": fit.threshold}
    if output is None:
        _store(checkpoint, fit, state | {"thresholds": thresholds})
    else:
        weights = {key: value for key, value in network.state_dict().items() if not key.startswith("text_encoder.")}
        if state.get("text_encoder") is not None:  # a trained one is part of the checkpoint
            weights = network.state_dict()
        else:
            network.text_encoder = None
        storage.save(output, network, weights, None, state | {"input_size": [height, width], "thresholds": thresholds})
    return result


def _store(path: Path, fit: PresenceFit, state: dict[str, Any]) -> None:
    """Put a fit into a checkpoint folder; until it is complete, the previous one stays."""
    folder = storage.locate(path)
    building, old = path.with_name(f"{path.name}.{os.getpid()}.tmp"), path.with_name(f"{path.name}.old")
    try:
        shutil.copytree(folder, building)
        for name in (storage.WEIGHTS, storage.AVERAGE):
            if (building / name).is_file():
                tensors: dict[str, Tensor] = load_file(building / name)
                for key, value in ((SCALE, fit.scale), (SHIFT, fit.shift)):
                    tensors[key] = torch.full_like(tensors[key], value)
                save_file(tensors, building / name)
        (building / storage.STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        # As everywhere with checkpoints: at every moment `path` or `path.old` is complete.
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        building.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _logit(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _figures(scores: np.ndarray, present: np.ndarray, threshold: float) -> dict[str, float]:
    summary = presence_summary(scores, present, threshold)
    assert summary is not None  # `calibrate` refuses data without both kinds
    found = {"AUROC": summary["AUROC"], "F1": summary["F1"]["f1"], "ECE": summary["calibration"]["ece"]}
    return {**{name: round(float(value), 4) for name, value in found.items()}, "threshold": threshold}
