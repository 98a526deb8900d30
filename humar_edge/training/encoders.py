"""Learning new encoders for a trained network: what reads prompt and pyramid is copied, what feeds it is imitated.

Between the encoders and the rest of a light network there are two narrow places: the projected prompt (words and
sentence) and the pyramid. A student whose encoders give the same there answers as its teacher does, whatever encoders
it has, so a new backbone or text encoder needs no prompts, boxes or masks to be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from humar_edge.combos import Combo
from humar_edge.data.entries import Entry
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.models.blocks import cell_centres
from humar_edge.models.network import HumarNet
from humar_edge.models.text import TextEncoder, build_text_encoder
from humar_edge.models.transformers.light import Pyramid
from humar_edge.training.batch import Batch
from humar_edge.training.build import build_network, describe, load_network
from humar_edge.training.texts import FROM_SCRATCH, open_encoder, stored_encoder

ENCODERS = ("neck.", "text.")
"""Parts of a light transformer that belong to the encoders: they are learned, all others are copied."""
PEOPLE = 4.0
"""How much more a cell counts in the box of a person who is asked for."""
STILL = 0.1
"""Added to all variances, over their mean: channels that hardly vary must not dominate."""


@dataclass
class Pair:
    """A teacher and its student, both with text encoders.

    Attributes:
        teacher: In evaluation mode, without gradients.
        student: All but its encoders are copies.
        encoder: The student's text encoder, also `student.text_encoder` where the checkpoint holds it.
        learns_text: The student's text encoder is another one than the teacher's.
        learns_vision: The student's backbone is another one than the teacher's.
        state: Of the student's checkpoints.
    """

    teacher: HumarNet
    student: HumarNet
    encoder: TextEncoder
    learns_text: bool
    learns_vision: bool
    state: dict[str, Any]


def _encoder(
    combo: Combo,
    same: bool,
    teacher: HumarNet,
    entries: Sequence[Entry],
    source: Path | None,
    pretrained: bool,
    begun: Sequence[Path],
) -> TextEncoder:
    """The student's text encoder to start from."""
    if same:
        return teacher.text_encoder  # type: ignore[return-value]
    if (stored := stored_encoder(combo.text_encoder_type, begun)) is not None:
        return stored
    if combo.text_encoder_type in FROM_SCRATCH and source is None:
        return open_encoder(combo.text_encoder_type, entries, None)
    untrained = source is None and not pretrained
    return build_text_encoder(combo.text_encoder_type, source=source, untrained=untrained)


def pair(
    path: Path,
    name: str,
    combo: Combo,
    size: int,
    entries: Sequence[Entry],
    *,
    text_source: Path | None = None,
    pretrained: bool = False,
    weights: Path | None = None,
    begun: Sequence[Path] = (),
) -> Pair:
    """Open a teacher and build a student around what lies behind its encoders.

    Args:
        path: The teacher's checkpoint folder.
        name: Name of the student's combination.
        combo: Its components.
        size: Side of the canvas.
        entries: Training entries; the vocabulary of `tite` is made of their captions.
        text_source: Folder of the student's text encoder.
        pretrained: Start from published weights of backbone and text encoder instead of random ones.
        weights: File with weights of the student's backbone.
        begun: Checkpoints of a run that is continued, best first; they hold the student's text encoder, if it learns.

    Raises:
        CheckpointError: The teacher cannot be read, or the run is of another text encoder.
        ConfigError: The teacher is of another family, or of other widths.
    """
    teacher, found = load_network(path)
    family = found["components"]["transformer_type"]
    if family != combo.transformer_type or not isinstance(teacher, HumarNet):
        raise ConfigError(
            f"--teacher {path} has the transformer '{family}', {name} has '{combo.transformer_type}'; encoders can "
            "only be learned from a light network of the same family"
        )
    combo = replace(combo, overrides=dict(found.get("overrides", {})))
    length = int(found.get("token_length", 32))
    same = combo.text_encoder_type == found["components"]["text_encoder_type"] and text_source is None
    encoder = _encoder(combo, same, teacher, entries, text_source, pretrained, begun)
    state = describe(name, combo, size, length)
    inside = not same or "text_encoder" in found
    if inside:
        state["text_encoder"] = encoder.description()
    student = build_network(combo, encoder if inside else None, encoder.dim, pretrained=pretrained, weights=weights)
    adopt(student, teacher, text=same)
    sees = combo.backbone == found["components"]["backbone"]
    if sees:
        student.backbone.load_state_dict(teacher.backbone.state_dict())
    for module in student.backbone.modules():
        if isinstance(getattr(module, "drop_path", None), float):
            module.drop_path = 0.0  # type: ignore[assignment]  # imitation does not overfit
    teacher.requires_grad_(False)
    return Pair(teacher, student, encoder, not same, not sees, state)


def adopt(student: HumarNet, teacher: HumarNet, *, text: bool) -> None:
    """Copy what reads prompt and pyramid, and of the neck what has the same shape.

    Args:
        student: Is changed.
        teacher: Is not.
        text: Copy the text projection too: the text encoders are the same.

    Raises:
        CheckpointError: A copied part has another shape.
    """
    theirs, ours = teacher.transformer.state_dict(), student.transformer.state_dict()
    for key, value in ours.items():
        learned = key.startswith(ENCODERS) and not (text and key.startswith("text."))
        fits = key in theirs and theirs[key].shape == value.shape
        if fits and (not learned or key.startswith("neck.")):
            value.copy_(theirs[key])
        elif not learned:
            raise CheckpointError(f"the teacher does not fit the student: '{key}' is missing or has another shape")


class PyramidStep(nn.Module):
    """The student's backbone and neck learn the teacher's pyramid.

    The loss of a level is the mean squared difference over the teacher's variance per channel: 1 for a student that
    always gives the mean, 0 for a perfect one.

    Args:
        student: With `neck`.
        teacher: In evaluation mode.
    """

    names = Pyramid._fields

    def __init__(self, student: HumarNet, teacher: HumarNet) -> None:
        super().__init__()
        self.network = student
        self._others = (teacher,)  # in a tuple, so that its weights are not taken for this module's
        student.requires_grad_(False)
        student.backbone.requires_grad_(True)
        student.transformer.neck.requires_grad_(True)

    def prepare_modes(self) -> None:
        """After `train()`: what is not learned stays as it is."""
        self.network.eval()
        self.network.backbone.train()
        self.network.transformer.neck.train()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Loss per level."""
        with torch.no_grad():
            wanted = self._others[0].pyramid(batch.image)
        found = self.network.pyramid(batch.image)
        return {
            name: level_loss(ours, theirs, emphasis(batch, (ours.shape[-2], ours.shape[-1])))
            for name, ours, theirs in zip(self.names, found, wanted, strict=True)
        }


def level_loss(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the squared difference of maps [B,C,h,w], over the variance; weight [B,1,h,w]."""
    ours, theirs = ours.float(), theirs.float()
    weight = weight / weight.mean()
    mean = (theirs * weight).mean((0, 2, 3), keepdim=True)
    variance = ((theirs - mean).square() * weight).mean((0, 2, 3), keepdim=True)
    scale = variance + STILL * variance.mean() + 1e-9
    return ((ours - theirs).square() * weight / scale).mean()


def emphasis(batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Weights [B,1,rows,columns] of cells: `PEOPLE` in the boxes of those who are asked for, else 1."""
    x, y = cell_centres(*shape).to(batch.image.device)
    box = batch.box[batch.present][:, :, None, None]
    inside = (x > box[:, 0]) & (x < box[:, 2]) & (y > box[:, 1]) & (y < box[:, 3])
    people = torch.zeros(len(batch.image), *shape, device=batch.image.device)
    people.index_add_(0, batch.owner[batch.present], inside.float())
    return torch.where(people > 0, PEOPLE, 1.0)[:, None]
