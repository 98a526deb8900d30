"""Training and validation of the original transformer with the data and the loop of the light families."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from humar_edge.models.network import MEAN, STD
from humar_edge.models.original.prompts import PointPrompt, TextPrompt
from humar_edge.models.original.uniphd import Referred, UniPHD
from humar_edge.models.prompting import Prompt
from humar_edge.training.batch import Batch
from humar_edge.training.losses import BODY_SHARE
from humar_edge.training.machine import fix_norms
from humar_edge.training.samples import MASK_STRIDE
from humar_edge.training.uniphd_criterion import COEFFICIENTS, UniPHDCriterion
from humar_edge.training.uniphd_matching import Target


class ReferringUniPHD(nn.Module):
    """UniPHD behind the interface of `HumarNet`: uint8 pictures on a square canvas, all of which counts as picture."""

    def __init__(self, network: UniPHD) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def text_encoder(self) -> Any:
        """The text encoder."""
        return self.network.text_encoder

    @property
    def transformer(self) -> Any:
        """Everything but the encoders."""
        return self.network.transformer

    @property
    def backbone(self) -> Any:
        """The backbone."""
        return self.network.backbone

    def normalised(self, image: Tensor) -> Tensor:
        """uint8 RGB [B,H,W,3] -> float [B,3,H,W] as backbones take it."""
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Prompt:
        """Token ids and mask, int64 [N,T], to a prompt."""
        tokens, sentence = self.network.encode_text(input_ids, attention_mask)
        return Prompt(tokens, attention_mask, sentence)

    def forward(self, image: Tensor, tokens: Tensor, mask: Tensor, sentence: Tensor) -> Referred:
        """The vision engine."""
        return self.network.vision(self.normalised(image), tokens, mask, sentence)

    def forward_points(self, image: Tensor, points: Tensor) -> Referred:
        """The positional engine: points float32 [N,12,2] in units of the canvas."""
        return self.network.positional(self.normalised(image), points)


def targets_of(batch: Batch) -> list[Target]:
    """One target per prompt, with nobody in it where the prompt fits nobody.

    Masks are trained where all people of the batch have one: the matching decodes them for all or for none.
    """
    height, width = int(batch.image.shape[1]), int(batch.image.shape[2])
    low, high = batch.box[:, :2], batch.box[:, 2:]
    boxes = torch.cat([(low + high) / 2, high - low], 1)
    covered = batch.mask.float().mean((1, 2))
    area = torch.where(batch.has_mask, covered, (high - low).prod(1) * BODY_SHARE)
    masked = bool((batch.has_mask | ~batch.present).all())
    targets = []
    for row, present in enumerate(batch.present.tolist()):
        some = slice(row, row + present)
        masks = batch.mask[some].bool()
        masks = masks.repeat_interleave(MASK_STRIDE, 1).repeat_interleave(MASK_STRIDE, 2)
        targets.append(
            Target(
                boxes[some],
                batch.keypoints[some, :, :2],
                (batch.keypoints[some, :, 2] > 0).float(),
                area[some],
                (height, width),
                masks if masked else None,
            )
        )
    return targets


class OriginalStep(nn.Module):
    """UniPHD and its losses.

    Args:
        network: Behind its interface, text encoder included.
        tokenizer: Pads to the longest caption of a batch.

    Attributes:
        fixed_backbone: See `LightStep`.
    """

    names = tuple(COEFFICIENTS)
    fixed_backbone = True

    def __init__(self, network: ReferringUniPHD, tokenizer: Any) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.criterion = UniPHDCriterion()

    def prepare_modes(self) -> None:
        """After `train()`: batch norms of the backbone keep their statistics."""
        if self.fixed_backbone:
            fix_norms(self.network.backbone)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Parts of the loss, weighted and summed over layers; their sum is the loss."""
        targets = targets_of(batch)
        texts = torch.ones(len(targets), dtype=torch.bool, device=batch.owner.device)
        texts[batch.pointed] = False
        # both kinds of prompts through the network, then one set of losses: processes count people together
        order, found = [], []
        for rows in (texts.nonzero()[:, 0], batch.pointed):
            if len(rows):
                order.extend(rows.tolist())
                found.append(self._outputs(batch, rows, [targets[row] for row in rows.tolist()]))
        losses = self.criterion.losses(_joined(found), [targets[row] for row in order])
        nothing = torch.zeros((), device=batch.image.device)
        parts = dict.fromkeys(self.names, nothing)
        for name, loss in losses.items():
            kind = name.split("/")[0]
            parts[kind] = parts[kind] + self.criterion.coefficients[kind] * loss
        return parts

    def _outputs(self, batch: Batch, rows: Tensor, targets: list[Target]) -> dict[str, Any]:
        image = self.network.normalised(batch.image[batch.owner[rows]])
        height, width = int(image.shape[2]), int(image.shape[3])
        sizes = torch.tensor([[height, width]], device=image.device).expand(len(rows), 2)
        prompt: TextPrompt | PointPrompt
        if len(rows) == len(batch.pointed) and torch.equal(rows, batch.pointed):
            prompt = PointPrompt(batch.points * torch.tensor([width, height], device=image.device))
        else:
            encoded = self.tokenizer.encode_batch([batch.captions[row] for row in rows.tolist()])
            ids = torch.tensor([e.ids for e in encoded], device=image.device)
            prompt = TextPrompt(ids, torch.tensor([e.attention_mask for e in encoded], device=image.device))
        select = self.criterion.selector(targets)
        return self.network.network(image, None, sizes, prompt, select=select)


def _joined(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Outputs of several passes as if they were one, row after row."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    joined: dict[str, Any] = {}
    for name, value in first.items():
        values = [output[name] for output in outputs]
        if isinstance(value, Tensor):
            joined[name] = torch.cat(values)
        elif isinstance(value, dict):
            joined[name] = {key: torch.cat([part[key] for part in values]) for key in value}
        else:
            joined[name] = [_joined([part[layer] for part in values]) for layer in range(len(value))]
    return joined
