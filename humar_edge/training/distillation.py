"""Learning from another network: its choice of the person, its keypoint heatmaps and its mask."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from humar_edge.errors import ConfigError
from humar_edge.models.heads.selection import Selection
from humar_edge.models.network import HumarNet
from humar_edge.training.batch import Batch
from humar_edge.training.build import load_network
from humar_edge.training.losses import Decoding
from humar_edge.training.shared import shared_counts
from humar_edge.training.step import build_prompt
from humar_edge.training.text_cache import TextCache

WEIGHTS = {"teach_select": 1.0, "teach_heat": 0.2, "teach_mask": 2.0}
"""Parts and their weights; those of heatmaps and masks are the weights of the true ones."""


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two sets of logits [...,K] from the teacher's distribution -> [...]."""
    ours, theirs = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


class Teacher:
    """A trained light network that answers the same prompts as the student.

    The maps have stride 8 in every light family, so cells correspond; both decode the same people in the same windows,
    so heatmaps and masks correspond as well.

    Args:
        network: In evaluation mode, with its text encoder.
        weight: Factor of all its losses.
        token_length: Tokens per prompt.
    """

    names = tuple(WEIGHTS)

    def __init__(self, network: HumarNet, weight: float = 1.0, token_length: int = 32) -> None:
        self.network = network.eval().requires_grad_(False)
        self.texts = TextCache(network.text_encoder, token_length)  # type: ignore[arg-type]
        self.weight = weight

    @torch.no_grad()
    def answer(self, batch: Batch, decoding: Decoding) -> Decoding:
        """The teacher's view of what the student decoded."""
        pyramid = self.network.pyramid(batch.image)
        prompt = build_prompt(self.network, self.texts, batch, pyramid)
        rows = pyramid.rows(batch.owner)
        x, selection = self.network.transformer.select(rows, prompt)
        found = None
        if decoding.found is not None:
            chosen = Selection(*(values[decoding.rows] for values in selection))
            picked = rows.p2[decoding.rows]
            found = self.network.transformer.decode(x[decoding.rows], picked, chosen, decoding.cell, decoding.window)
        return decoding._replace(features=x, selection=selection, found=found)

    def losses(self, batch: Batch, decoding: Decoding) -> dict[str, Tensor]:
        """Parts of the loss, weighted; those of heatmaps and masks are missing where nobody was decoded."""
        teacher = self.answer(batch, decoding)
        rows, people = shared_counts(len(batch.owner), len(decoding.rows), device=batch.image.device)
        parts = {"teach_select": divergence(decoding.selection.logits, teacher.selection.logits).sum() / rows}
        if decoding.found is not None and teacher.found is not None:
            ours, theirs = decoding.found, teacher.found
            heat = divergence(ours.heatmaps.flatten(2), theirs.heatmaps.flatten(2)).mean(1)
            pixels = F.binary_cross_entropy_with_logits(ours.mask, theirs.mask.sigmoid(), reduction="none")
            parts["teach_heat"] = heat.sum() / people
            parts["teach_mask"] = pixels.mean((1, 2)).sum() / people
        return {name: self.weight * WEIGHTS[name] * value for name, value in parts.items()}


def load_teacher(path: Path, device: torch.device, weight: float = 1.0) -> Teacher:
    """Open a checkpoint as a teacher.

    Raises:
        CheckpointError: It cannot be read.
        ConfigError: It is not of a light family.
    """
    network, state = load_network(path)
    if not isinstance(network, HumarNet):
        raise ConfigError(f"--teacher {path}: the original transformer cannot teach yet; give a light combination")
    return Teacher(network.to(device), weight, int(state.get("token_length", 32)))
