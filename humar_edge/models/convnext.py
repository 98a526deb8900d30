"""Large-kernel convolution blocks: ConvNeXt with batch norms, stacked the CSP way."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import ConvNorm


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, then two 1x1 convolutions with a wide middle (Liu et al., arXiv 2201.03545); residual.

    BatchNorm and ReLU replace LayerNorm and GELU: they fold into the convolutions and quantise well.
    """

    def __init__(self, channels: int, expand: float = 4.0, kernel: int = 7) -> None:
        super().__init__()
        hidden = int(channels * expand)
        self.body = nn.Sequential(
            ConvNorm(channels, channels, kernel, groups=channels, act=False),
            ConvNorm(channels, hidden),
            ConvNorm(hidden, channels, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        return x + self.body(x)


class CSPNeXt(nn.Module):
    """Half of the channels pass `depth` ConvNeXt blocks, half go by (CSPNet, arXiv 1911.11929; RTMDet, 2212.07784)."""

    def __init__(self, inputs: int, outputs: int, depth: int, expand: float = 4.0, kernel: int = 7) -> None:
        super().__init__()
        half = outputs // 2
        self.through = ConvNorm(inputs, half)
        self.beside = ConvNorm(inputs, outputs - half)
        self.body = nn.Sequential(*[ConvNeXtBlock(half, expand, kernel) for _ in range(depth)])
        self.merge = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N,inputs,h,w] -> [N,outputs,h,w]."""
        return self.merge(torch.cat([self.body(self.through(x)), self.beside(x)], 1))
