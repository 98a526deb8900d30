"""`efficient`: hybrid encoder of linear attention and inverted bottlenecks, prompt by FiLM and attention over words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.attention import AttentionBlock
from humar_edge.models.blocks import ConvNorm, InvertedBottleneck, PositionBias, upsample
from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.fully_conv_optim import PromptMix
from humar_edge.models.transformers.light import LightTransformer, Pyramid
from humar_edge.models.transformers.top_down import TopDown


def fuse(channels: int, expand: float, gate: bool = False) -> nn.Sequential:
    """Two maps, concatenated, to one."""
    return nn.Sequential(ConvNorm(2 * channels, channels), InvertedBottleneck(channels, expand, gate=gate))


class HybridEncoder(nn.Module):
    """Attention within strides 16 and 32, convolutions across strides (after RT-DETR, arXiv 2304.08069).

    Args:
        inputs: Backbone channels at strides 4, 8, 16, 32.
        channels: Width of the maps.
        fine_channels: Width of the stride-4 map.
        heads: Of the linear attention.
        depth: Attention blocks per stride.
        expand: Of the inverted bottlenecks at strides 16 and 32.
    """

    def __init__(
        self, inputs: tuple[int, ...], channels: int, fine_channels: int, heads: int, depth: int, expand: float
    ) -> None:
        super().__init__()
        self.fine = ConvNorm(inputs[0], fine_channels)
        self.detail = ConvNorm(fine_channels, channels, 3, stride=2, act=False)
        self.lateral = nn.ModuleList([ConvNorm(size, channels) for size in inputs[1:]])
        self.position = nn.ModuleList([PositionBias(channels) for _ in range(3)])
        self.attend = nn.ModuleList(
            [nn.Sequential(*[AttentionBlock(channels, heads, expand) for _ in range(depth)]) for _ in range(2)]
        )
        self.down_path = nn.ModuleList([fuse(channels, 1), fuse(channels, expand, gate=True)])
        self.shrink = nn.ModuleList([ConvNorm(channels, channels, 3, stride=2, groups=channels) for _ in range(2)])
        self.up_path = nn.ModuleList([fuse(channels, expand, gate=True) for _ in range(2)])

    def forward(self, features: list[Tensor]) -> Pyramid:
        """Four maps at strides 4, 8, 16, 32 -> Pyramid."""
        fine = self.fine(features[0])
        p3, p4, p5 = (
            place(lateral(x)) for place, lateral, x in zip(self.position, self.lateral, features[1:], strict=True)
        )
        p3 = p3 + self.detail(fine)  # colour is plainest in the shallow features
        p5 = self.attend[1](p5)
        p4 = self.attend[0](self.down_path[1](torch.cat([p4, upsample(p5, p4)], 1)))
        p3 = self.down_path[0](torch.cat([p3, upsample(p4, p3)], 1))
        p4 = self.up_path[0](torch.cat([p4, self.shrink[0](p3)], 1))
        p5 = self.up_path[1](torch.cat([p5, self.shrink[1](p4)], 1))
        return Pyramid(fine, p3, p4, p5)


class Reasoning(nn.Module):
    """Brings the prompt into one map, then lets all cells exchange what they know of it."""

    def __init__(self, channels: int, width: int, heads: int, expand: float, kernel: int = 3) -> None:
        super().__init__()
        self.mix = PromptMix(channels, width, heads, expand, kernel, gate=True)
        self.exchange = AttentionBlock(channels, heads, expand)

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        return self.exchange(self.mix(x, prompt))


class HybridFusion(TopDown):
    """Cells compare themselves with all others (`Reasoning`) at strides 32 and 16 only; stride 8 stays cheap, because
    this part runs once per prompt."""

    def __init__(self, channels: int, width: int, heads: int, expand: float) -> None:
        super().__init__(channels)
        self.mix5 = Reasoning(channels, width, heads, expand, kernel=5)
        self.mix4 = Reasoning(channels, width, heads, expand)
        self.mix3 = PromptMix(channels, width, heads, expand=1)
        self.head = InvertedBottleneck(channels, expand=1)


def efficient(
    channels: tuple[int, ...],
    text_dim: int,
    *,
    maps: int = 176,
    fine: int = 48,
    width: int = 256,
    heads: int = 4,
    depth: int = 3,
    expand: float = 4.0,
    hidden: int = 80,
    layers: int = 3,
    dropout: float = 0.0,
) -> LightTransformer:
    """Build the family.

    Args:
        channels: Backbone channels at strides 4, 8, 16, 32.
        text_dim: Width of the text encoder.
        maps: Width of the feature maps.
        fine: Width of the stride-4 map.
        width: Width of the tokens.
        heads: Heads of the attention over cells and over words; divides `maps`.
        depth: Attention blocks per stride before the prompt.
        expand: Width of the bottlenecks at strides 16 and 32, over `maps`.
        hidden: Width of the instance window.
        layers: Graph layers.
        dropout: Dropout of the projected prompt.
    """
    return LightTransformer(
        HybridEncoder(channels, maps, fine, heads, depth, expand),
        HybridFusion(maps, width, heads, expand),
        channels=maps,
        fine_channels=fine,
        width=width,
        text_dim=text_dim,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
    )
