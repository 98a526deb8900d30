"""Which cell is the person: one softmax over all cells of the finest map plus a "nobody" cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.blocks import cell_centres
from humar_edge.models.prompting import MASKED, Prompt


class Selection(NamedTuple):
    """Dense outputs, one column per cell (row-major).

    Attributes:
        logits: [N,cells+1] selection logits; the last column is "nobody".
        boxes: float32 [N,cells,4] xyxy in units of the canvas.
        embedding: [N,cells,E] description of the person at the cell.
        match: [N,cells] how well the cell goes with the prompt before any other cell is looked at.
    """

    logits: Tensor
    boxes: Tensor
    embedding: Tensor
    match: Tensor


class Similarity(nn.Module):
    """How well each cell of a map goes with the prompt: inner products with the sentence and with the best word.

    Attention over words is normalised and cannot say that nothing fits; an inner product can, and it gives the
    association of a colour with its word a gradient from the first step.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, width, 1)
        self.sentence = nn.Linear(width, width)
        self.words = nn.Linear(width, width)
        nn.init.normal_(self.sentence.weight, std=width**-1.5)
        nn.init.normal_(self.words.weight, std=width**-1.5)

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:
        """[N,C,h,w] and N prompts -> [N,2,h*w]: with the sentence, with the best word."""
        key = self.key(x).flatten(2) * x.shape[1] ** -0.5
        words = self.words(prompt.tokens) @ key
        hidden = (prompt.mask == 0)[..., None].to(words.dtype) * MASKED
        return torch.cat([self.sentence(prompt.sentence)[:, None] @ key, (words + hidden).amax(1, keepdim=True)], 1)


class SelectionHead(nn.Module):
    """Scores, boxes and embeddings of all cells of a prompt-conditioned map."""

    SIDE_CELLS = 8.0
    """Sides are regressed in units of so many cells, so that a person of the same pixels gets the same sides at any
    input size; an untrained side is softplus(0) * 8 = 5.5 cells."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        self.sides = nn.Conv2d(channels, 4, 1)
        self.embed = nn.Conv2d(channels, width, 1)
        self.similarity = Similarity(channels, width)
        self.nobody = nn.Sequential(nn.Linear(2 * channels + width, width), nn.ReLU(), nn.Linear(width, 1))
        nn.init.zeros_(self.sides.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, prompt: Prompt, match: Tensor) -> Selection:
        """Args: x [N,C,h,w] conditioned features; prompt with N rows; match [N,h*w] as in `Selection`."""
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3)), prompt.sentence], 1)
        score = self.score(x).flatten(1) + self.similarity(x, prompt).sum(1)
        logits = torch.cat([score, self.nobody(pooled)], 1).float()
        height, width = x.shape[-2:]
        unit = torch.tensor([self.SIDE_CELLS / width, self.SIDE_CELLS / height] * 2, device=x.device)
        sides = F.softplus(self.sides(x).float()) * unit[:, None, None]
        centres = cell_centres(height, width, x.device)
        boxes = torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], 1)
        rows = (boxes.flatten(2).transpose(1, 2), self.embed(x).flatten(2).transpose(1, 2))
        return Selection(logits, *rows, match)


def presence_logit(logits: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Log-odds that anybody fits: all cells against "nobody", calibrated by a scale and a shift. [N,cells+1] -> [N]."""
    return (torch.logsumexp(logits[:, :-1], 1) - logits[:, -1]) * scale + shift


def pick(values: Tensor, cell: Tensor) -> Tensor:
    """Row `cell` [N] of each of [N,cells,E] -> [N,E]."""
    return values.gather(1, cell[:, None, None].expand(-1, 1, values.shape[2]))[:, 0]
