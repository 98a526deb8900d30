"""From prompts to conditioning: projected words, or features read at points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import cells_last
from humar_edge.models.heads.resample import sample_matrix

MASKED = -1e4
"""Logit of padding tokens: finite, and representable in FP16."""


class Prompt(NamedTuple):
    """What conditions the image features.

    Attributes:
        tokens: [N,T,D] words or points.
        mask: [N,T], non-zero for real tokens.
        sentence: [N,D] the prompt as a whole.
        heat: [N,1,h,w] in [0,1], where the points lie on the finest map; None for text.
    """

    tokens: Tensor
    mask: Tensor
    sentence: Tensor
    heat: Tensor | None = None

    def rows(self, index: Tensor) -> Prompt:
        """The prompts of some rows."""
        return Prompt(*(None if value is None else value.index_select(0, index) for value in self))  # type: ignore[arg-type]


class TextProjection(nn.Module):
    """Word and sentence features of any text encoder, projected to the width of the transformer."""

    def __init__(self, text_dim: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Linear(text_dim, width), nn.LayerNorm(width), nn.Dropout(dropout))
        self.sentence = nn.Sequential(nn.Linear(text_dim, width), nn.LayerNorm(width), nn.Dropout(dropout))

    def forward(self, words: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """([N,T,text_dim], [N,text_dim]) -> ([N,T,D], [N,D])."""
        return self.words(words), self.sentence(sentence)


class PointProjection(nn.Module):
    """Points on the person (a scribble, or one point repeated) become tokens: features read at the points."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(2 * channels + 2, width), nn.LayerNorm(width))
        self.sentence = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, fine: Tensor, coarse: Tensor, points: Tensor) -> Prompt:
        """Build a prompt.

        Args:
            fine: [N,C,h,w] stride-8 features.
            coarse: [N,C,h/2,w/2] stride-16 features.
            points: float32 [N,12,2] (x, y) in [0,1] of the canvas.
        """
        weights = sample_matrix(points, *fine.shape[-2:])
        read = [weights.to(fine.dtype) @ cells_last(fine)]
        read.append(sample_matrix(points, *coarse.shape[-2:]).to(fine.dtype) @ cells_last(coarse))
        tokens = self.tokens(torch.cat([*read, points.to(fine.dtype)], 2))
        heat = weights.amax(1).view(fine.shape[0], 1, *fine.shape[-2:]).to(fine.dtype)
        mask = torch.ones(tokens.shape[:2], dtype=torch.int64, device=tokens.device)
        return Prompt(tokens, mask, self.sentence(tokens.mean(1)), heat)
