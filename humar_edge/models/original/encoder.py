"""Deformable encoder and the geometry of its pyramid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from humar_edge.models.original.deformable import DeformableAttention


@dataclass(frozen=True)
class Pyramid:
    """Geometry of the levels that the transformer looks at.

    Attributes:
        shapes: (height, width) per level.
        paddings: bool [B,h,w] per level, True = padding.
        padding: bool [B,S], the same flattened; None when the batch has no padding.
        ratios: float [B,L,2], share (x, y) of each level that is not padding.
    """

    shapes: tuple[tuple[int, int], ...]
    paddings: tuple[Tensor, ...]
    padding: Tensor | None
    ratios: Tensor

    @classmethod
    def build(cls, batch: int, shapes: tuple[tuple[int, int], ...], padding: Tensor | None, like: Tensor) -> Pyramid:
        """Resample the canvas mask (bool [B,H,W], True = padding; None = no padding) to every level."""
        if padding is None:
            paddings = tuple(torch.zeros(batch, *shape, dtype=torch.bool, device=like.device) for shape in shapes)
            return cls(shapes, paddings, None, torch.ones(batch, len(shapes), 2, device=like.device))
        canvas = padding[:, None].float()
        paddings = tuple(functional.interpolate(canvas, shape, mode="nearest")[:, 0] > 0.5 for shape in shapes)
        ratios = [
            torch.stack(((~mask[:, 0, :]).float().mean(1), (~mask[:, :, 0]).float().mean(1)), -1) for mask in paddings
        ]
        flat = torch.cat([mask.flatten(1) for mask in paddings], 1)
        return cls(shapes, paddings, flat, torch.stack(ratios, 1))

    def centres(self) -> Tensor:
        """Centres of all cells as fractions (x, y) of the valid image, float [B,S,2]; above 1 in the padding."""
        levels = []
        for level, (height, width) in enumerate(self.shapes):
            x = (torch.arange(width, device=self.ratios.device) + 0.5) / width
            y = (torch.arange(height, device=self.ratios.device) + 0.5) / height
            grid = torch.stack((x[None, :].expand(height, -1), y[:, None].expand(-1, width)), -1).flatten(0, 1)
            levels.append(grid[None] / self.ratios[:, level, None])
        return torch.cat(levels, 1)

    def split(self, memory: Tensor) -> list[Tensor]:
        """Memory [B,S,C] as one map [B,C,h,w] per level."""
        parts = memory.split([height * width for height, width in self.shapes], 1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, self.shapes, strict=True)]


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward, each with a residual and a norm after it."""

    def __init__(self, width: int, levels: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, levels)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, references: Tensor, pyramid: Pyramid) -> Tensor:
        attended = self.self_attn(x + positions, references, x, pyramid.shapes, pyramid.padding)
        x = self.norm1(x + attended)
        return self.norm2(x + self.linear2(functional.relu(self.linear1(x))))


class Encoder(nn.Module):
    """Stack of encoder layers."""

    def __init__(self, width: int, levels: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, levels, hidden) for _ in range(depth))

    def forward(self, tokens: Tensor, positions: Tensor, pyramid: Pyramid) -> Tensor:
        """Refine the tokens of all levels: float [B,S,C] -> memory [B,S,C]."""
        references = pyramid.centres()[:, :, None] * pyramid.ratios[:, None]
        for layer in self.layers:
            tokens = layer(tokens, positions, references, pyramid)
        return tokens
