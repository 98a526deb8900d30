"""Attention whose cost grows linearly with the number of cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import ConvNorm, InvertedBottleneck

LEAST_NORMALISER = 1e-3
"""Added to the normaliser. A query that no key answers gets nearly nothing, and gradients stay bounded."""


class LinearAttention(nn.Module):
    """ReLU linear attention over all cells of a map (Katharopoulos et al., arXiv 2006.16236; EfficientViT, 2205.14756).

    With q = relu(Q), k = relu(K) / cells: out = q (k^T v) / (q sum(k)). Keys are divided by the number of cells, so
    the sums are means and stay of order one at any input size; they are taken in float32, under autocast too.
    Linear attention blurs, so values of neighbours are added by a depthwise convolution.

    Args:
        channels: Width of the map.
        heads: Divides `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = ConvNorm(channels, 3 * channels, act=False)
        self.near = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.out = ConvNorm(channels, channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w], without the residual."""
        n, channels, height, width = x.shape
        query, key, value = self.qkv(x).chunk(3, 1)
        near = self.near(value)
        with torch.autocast(x.device.type, enabled=False):
            shape = (n, self.heads, channels // self.heads, height * width)
            q, k, v = (part.reshape(shape).float() for part in (query, key, value))
            q, k = torch.relu(q), torch.relu(k) * (1.0 / (height * width))
            sums = v @ k.transpose(2, 3)
            normaliser = k.sum(3, keepdim=True).transpose(2, 3) @ q
            mixed = (sums @ q) / (normaliser + LEAST_NORMALISER)
        return self.out(mixed.reshape(n, channels, height, width).to(near.dtype) + near)


class AttentionBlock(nn.Module):
    """Linear attention for the whole picture, an inverted bottleneck for the neighbourhood; both residual.

    Args:
        channels: Width of the map.
        heads: Of the attention.
        expand: Width of the bottleneck over that of the map.
    """

    def __init__(self, channels: int, heads: int, expand: float = 4.0) -> None:
        super().__init__()
        self.linear_attention = LinearAttention(channels, heads)
        self.local = InvertedBottleneck(channels, expand)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        return self.local(x + self.linear_attention(x))
