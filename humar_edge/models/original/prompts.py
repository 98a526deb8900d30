"""Prompts: what the caller gives (caption or points) and the tokens that the network makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from humar_edge.models.original.deformable import sample_bilinear
from humar_edge.models.original.encodings import encode_grid, encode_words


@dataclass(frozen=True)
class TextPrompt:
    """Captions: `input_ids` and `attention_mask`, int64 [B,T], 1 in the mask = a real token."""

    input_ids: Tensor
    attention_mask: Tensor


@dataclass(frozen=True)
class PointPrompt:
    """Points (x, y), float [B,N,2], in pixels of the resized, unpadded image.

    A scribble has 12 points; a click has one (repeating it changes nothing).
    """

    points: Tensor


@dataclass(frozen=True)
class PromptFeatures:
    """Tokens of a prompt.

    Attributes:
        kind: which set of fusion weights applies.
        tokens: float [B,T,C].
        positions: float [B,T,C], added to the keys.
        padding: bool [B,T], True = padding; None when every token counts.
        sentence: float [B,C], one vector for the whole prompt.
    """

    kind: Literal["text", "points"]
    tokens: Tensor
    positions: Tensor
    padding: Tensor | None
    sentence: Tensor


class Resizer(nn.Module):
    """Linear layer, layer norm (eps 1e-12) and dropout: to the width of the transformer."""

    def __init__(self, width: int, out: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.fc = nn.Linear(width, out)
        self.layer_norm = nn.LayerNorm(out, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.layer_norm(self.fc(x)))


class PromptBranches(nn.Module):
    """Projections of both kinds of prompts.

    Args:
        text_dim: width of the text encoder.
        point_dim: channels of the map that positional prompts sample (stride 16).
        width: width of the transformer.
    """

    def __init__(self, text_dim: int, point_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.words = Resizer(text_dim, width)
        self.sentence = Resizer(text_dim, width)
        self.points = Resizer(point_dim, width)
        self.points_sentence = Resizer(width, width)

    def project_text(self, words: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder outputs [B,T,text_dim] and [B,text_dim] -> text tokens [B,T,C] and sentence [B,C]."""
        return self.words(words), self.sentence(sentence)

    def from_text(self, tokens: Tensor, mask: Tensor, sentence: Tensor) -> PromptFeatures:
        """Features of projected text; `mask` is int64 [B,T], 1 = a real token."""
        padding = mask != 1
        return PromptFeatures("text", tokens, encode_words(padding, self.width), padding, sentence)

    def from_points(self, feature_map: Tensor, padding: Tensor, points: Tensor) -> PromptFeatures:
        """Features of a positional prompt.

        Args:
            feature_map: float [B,c,h,w], the backbone's map at stride 16.
            padding: bool [B,h,w] of that map.
            points: float [B,N,2], (x, y) as fractions of the padded canvas; clamped to [0, 1].
        """
        height, width = int(feature_map.shape[2]), int(feature_map.shape[3])
        # Corner-aligned: 0 is the centre of the first cell, 1 the centre of the last. Trained weights depend on it.
        cells = points.clamp(0.0, 1.0) * torch.tensor([width - 1.0, height - 1.0], device=points.device)
        tokens = self.points(sample_bilinear(feature_map.permute(0, 2, 3, 1), cells))
        positions = sample_bilinear(encode_grid(padding, self.width), cells)
        return PromptFeatures("points", tokens, positions, None, self.points_sentence(tokens.mean(1)))
