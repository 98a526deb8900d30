"""Learning from another network: its choice of the person, where it sees the keypoints, and its mask."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from humar_edge.models.heads.proposals import candidates_at
from humar_edge.models.network import HumarNet
from humar_edge.training.batch import Batch
from humar_edge.training.build import load_network
from humar_edge.training.losses import Decoding
from humar_edge.training.shared import shared_counts
from humar_edge.training.step import Teacher, build_prompt
from humar_edge.training.text_cache import TextCache

WEIGHTS = {"teach_select": 1.0, "teach_heat": 0.2, "teach_mask": 2.0}
"""Parts and their weights; those of heatmaps and masks are the weights of the true ones."""


class Seen(NamedTuple):
    """What a teacher says about the D people that the student decoded, on the student's windows.

    Attributes:
        heatmaps: [D,17,rows,columns] logits.
        joints: [D,17] how much each of those counts, in [0,1].
        mask: [D,rows,columns] probabilities.
        trust: [D] how much each mask counts, in [0,1].
    """

    heatmaps: Tensor
    joints: Tensor
    mask: Tensor
    trust: Tensor


class View(NamedTuple):
    """What a teacher says, in the student's units.

    Attributes:
        logits: [N,K+1] of choosing each of the student's candidates, or "nobody", for N prompts.
        seen: The decoded people; None when there are none.
    """

    logits: Tensor
    seen: Seen | None = None


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two sets of logits [...,K] from the teacher's distribution -> [...]."""
    ours, theirs = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def compare(decoding: Decoding, view: View, weight: float) -> dict[str, Tensor]:
    """Parts of the loss, weighted; those of heatmaps and masks are missing where nobody was decoded."""
    logits = decoding.selection.logits
    rows, people = shared_counts(len(logits), len(decoding.rows), device=logits.device)
    parts = {"teach_select": divergence(logits, view.logits).sum() / rows}
    if (ours := decoding.found) is not None and (theirs := view.seen) is not None:
        heat = divergence(ours.heatmaps.flatten(2), theirs.heatmaps.flatten(2)) * theirs.joints
        pixels = F.binary_cross_entropy_with_logits(ours.mask, theirs.mask, reduction="none").mean((1, 2))
        parts["teach_heat"] = heat.mean(1).sum() / people
        parts["teach_mask"] = (pixels * theirs.trust).sum() / people
    return {name: weight * WEIGHTS[name] * value for name, value in parts.items()}


class LightTeacher:
    """A trained light network that answers the same prompts as the student.

    The maps have stride 8 in every light family, so the teacher can be asked about the student's candidates; both
    decode the same people in the same windows, so heatmaps and masks correspond as well.

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
    def view(self, batch: Batch, decoding: Decoding) -> View:
        """The teacher's view of what the student decoded."""
        transformer = self.network.transformer
        pyramid = self.network.pyramid(batch.image)
        prompt = build_prompt(self.network, self.texts, batch, pyramid)
        places = candidates_at(transformer.proposals(pyramid.p3), decoding.people.cells)
        people = transformer.people(pyramid.p3, places)
        selection = transformer.select(people.rows(batch.owner), prompt)
        if decoding.found is None:
            return View(selection.logits)
        rows = decoding.rows
        decoded = pyramid.rows(batch.owner[rows]), prompt.rows(rows)
        found = transformer.decode(*decoded, decoding.cell, decoding.window)
        joints = torch.ones(found.heatmaps.shape[:2], device=batch.image.device)
        return View(selection.logits, Seen(found.heatmaps, joints, found.mask.sigmoid(), joints[:, 0]))

    def losses(self, batch: Batch, decoding: Decoding) -> dict[str, Tensor]:
        """Parts of the loss, weighted."""
        return compare(decoding, self.view(batch, decoding), self.weight)


def load_teacher(path: Path, device: torch.device, weight: float = 1.0) -> Teacher:
    """Open a checkpoint of any combination as a teacher.

    Raises:
        CheckpointError: It cannot be read.
    """
    network, state = load_network(path)
    length = int(state.get("token_length", 32))
    network = network.to(device)
    if isinstance(network, HumarNet):
        return LightTeacher(network, weight, length)
    from humar_edge.training.uniphd_teacher import OriginalTeacher

    return OriginalTeacher(network, weight, length)
