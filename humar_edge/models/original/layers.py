"""Small layers shared by the parts of UniPHD: attention with explicit arithmetic, multi-layer perceptrons."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

# Instead of an infinity: its exponential is exactly zero next to any logit above -9000, in FP16 as well as in FP32.
EXCLUDED = -1e4


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` int64 [B,n] of values [B,S,...] -> [B,n,...]; one plain Gather in an exported graph."""
    batch, rows = int(values.shape[0]), int(values.shape[1])
    flat = index + torch.arange(batch, device=index.device)[:, None] * rows
    return values.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, (batch, -1))


class Mlp(nn.Module):
    """`depth` linear layers with ReLU between them and none after the last."""

    def __init__(self, width: int, hidden: int, out: int, depth: int) -> None:
        super().__init__()
        sizes = [width, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)

    def zero_last(self) -> None:
        """Make the output zero, so that training starts from the reference points."""
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with packed projections (rows of `in_proj_weight`: query, key, value)."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        padding: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: float [B,Lq,C].
            key: float [B,Lk,C].
            value: float [B,Lk,C].
            padding: bool [B,Lk], True = leave this key out.
            bias: float [heads,Lq,Lk], added to the logits.

        Returns:
            float [B,Lq,C].
        """
        projections = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (self._split(functional.linear(x, weight, offset)) for x, weight, offset in projections)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if bias is not None:
            logits = logits + bias
        if padding is not None:
            logits = logits + padding[:, None, None, :].to(logits) * EXCLUDED
        return self.out_proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
