"""Attention among the 18 tokens of one person: the instance and its 17 keypoints (UniPHD, arXiv 2410.20508)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GraphLayer(nn.Module):
    """Pre-norm attention whose logits carry a learned adjacency between token kinds, and a feed-forward part."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.adjacency = nn.Parameter(torch.zeros(heads, tokens, tokens))
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[N,J,D] -> [N,J,D]."""
        n, tokens, width = x.shape
        parts = self.qkv(self.norm_attention(x)).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        logits = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5 + self.adjacency
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.out(mixed)
        return x + self.feed(self.norm_feed(x))
