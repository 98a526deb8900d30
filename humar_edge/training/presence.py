"""Calibration of the presence score on held-out prompts (Platt scaling), and the threshold that goes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from humar_edge.data.entries import Entry
from humar_edge.errors import DataError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.predictors import TorchPredictor
from humar_edge.evaluation.presence import best_f1
from humar_edge.evaluation.run import evaluate
from humar_edge.models.network import HumarNet

LEAST_SCALE = 0.05


class PresenceFit(NamedTuple):
    """Result of a calibration.

    Attributes:
        scale: Factor of the log-odds.
        shift: Added to them.
        threshold: Score from which a person counts as found: the best F1 on the held-out prompts.
        f1: That F1.
    """

    scale: float
    shift: float
    threshold: float
    f1: float


def platt(logits: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Scale and shift that maximise the likelihood of sigmoid(scale * logit + shift), by Newton's method.

    Args:
        logits: float [N] log-odds.
        present: bool [N]; both values must occur.

    Returns:
        Scale (at least 0.05: a higher logit never means a lower score) and shift. Targets are smoothed as in Platt
        (1999), so that separable data do not drive the scale to infinity.
    """
    count = int(present.sum())
    if count in (0, len(present)):
        raise DataError("calibrating the presence score needs captions of present and of absent people")
    target = np.where(present, (count + 1) / (count + 2), 1 / (len(present) - count + 2))
    ones = np.ones_like(logits)
    scale, shift = _newton(np.stack([logits, ones], 1), target, np.array([1.0, 0.0]), np.zeros(len(logits)))
    if scale < LEAST_SCALE:
        # The likelihood is concave: where the best scale is not allowed, the best allowed one is the least.
        scale = LEAST_SCALE
        (shift,) = _newton(ones[:, None], target, np.zeros(1), scale * logits)
    return float(scale), float(shift)


def _newton(
    design: np.ndarray, target: np.ndarray, start: np.ndarray, offset: np.ndarray, steps: int = 50
) -> np.ndarray:
    """Weights [M] of the most likely sigmoid(design [N,M] @ weights + offset [N]), with a weak prior at `start`."""
    weights = start
    for _ in range(steps):
        share = 1 / (1 + np.exp(-np.clip(design @ weights + offset, -30, 30)))
        gradient = design.T @ (share - target) + 1e-3 * (weights - start)
        curvature = (design * (share * (1 - share))[:, None]).T @ design + 1e-3 * np.eye(len(start))
        move = np.linalg.solve(curvature, gradient)
        weights = weights - np.clip(move, -1, 1)
        if np.abs(move).max() < 1e-6:
            break
    return weights


def calibrate(
    network: HumarNet, size: tuple[int, int], entries: Sequence[Entry], token_length: int = 32
) -> PresenceFit:
    """Fit the network's score to held-out entries and set its `score_scale` and `score_shift`.

    Args:
        network: In evaluation mode, with its text encoder.
        size: Input height and width.
        entries: Captions of present and absent people that were not trained on.
        token_length: Tokens per prompt.

    Raises:
        DataError: Those that could be used lack present or absent people; the network is as it was.
    """
    scale, shift = network.transformer.score_scale, network.transformer.score_shift
    a, b = scale.item(), shift.item()
    with torch.no_grad():
        scale.fill_(1.0)
        shift.fill_(0.0)
    evaluator = Evaluator()
    try:
        evaluate(TorchPredictor(network, size, token_length), entries, evaluator)
        scores = np.clip(np.array([outcome.score for outcome in evaluator.outcomes], np.float64), 1e-9, 1 - 1e-9)
        present = np.array([not outcome.entry.absent for outcome in evaluator.outcomes], bool)
        logits = np.log(scores / (1 - scores))
        a, b = platt(logits, present)
    finally:
        with torch.no_grad():
            scale.fill_(a)
            shift.fill_(b)
    best = best_f1(1 / (1 + np.exp(-(a * logits + b))), present)
    # rounded down, so that the person whose score it is still counts as found
    return PresenceFit(a, b, math.floor(best["threshold"] * 1000) / 1000, best["f1"])
