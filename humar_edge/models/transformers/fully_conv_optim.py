"""`fully_conv_optim`: Ghost PAN neck with SPPF, inverted bottlenecks with channel gates, prompt by FiLM and words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import (
    SPPF,
    ConvNorm,
    GhostBottleneck,
    InvertedBottleneck,
    PositionBias,
    cells_last,
    upsample,
)
from humar_edge.models.prompting import MASKED, Prompt
from humar_edge.models.transformers.light import LightTransformer, Pyramid
from humar_edge.models.transformers.top_down import TopDown


class GhostPAN(nn.Module):
    """Path aggregation over strides 8, 16 and 32 with ghost bottlenecks; a narrow map at stride 4 beside it."""

    def __init__(self, inputs: tuple[int, ...], channels: int, fine_channels: int) -> None:
        super().__init__()
        self.fine = ConvNorm(inputs[0], fine_channels)
        self.detail = ConvNorm(fine_channels, channels, 3, stride=2, act=False)
        nn.init.zeros_(self.detail[1].weight)  # type: ignore[arg-type]
        self.lateral = nn.ModuleList(
            [ConvNorm(inputs[1], channels), ConvNorm(inputs[2], channels), SPPF(inputs[3], channels)]
        )
        self.position = nn.ModuleList([PositionBias(channels) for _ in range(3)])
        self.down_path = nn.ModuleList([GhostBottleneck(2 * channels, channels) for _ in range(2)])
        self.shrink = nn.ModuleList([ConvNorm(channels, channels, 3, stride=2, groups=channels) for _ in range(2)])
        self.up_path = nn.ModuleList([GhostBottleneck(2 * channels, channels, gate=True) for _ in range(2)])

    def forward(self, features: list[Tensor]) -> Pyramid:
        """Four maps at strides 4, 8, 16, 32 -> Pyramid."""
        fine = self.fine(features[0])
        p3, p4, p5 = (
            place(lateral(x)) for place, lateral, x in zip(self.position, self.lateral, features[1:], strict=True)
        )
        p3 = p3 + self.detail(fine)  # colour is plainest in the shallow features
        p4 = self.down_path[1](torch.cat([p4, upsample(p5, p4)], 1))
        p3 = self.down_path[0](torch.cat([p3, upsample(p4, p3)], 1))
        p4 = self.up_path[0](torch.cat([p4, self.shrink[0](p3)], 1))
        p5 = self.up_path[1](torch.cat([p5, self.shrink[1](p4)], 1))
        return Pyramid(fine, p3, p4, p5)


class PromptMix(nn.Module):
    """Conditions one map: FiLM from the sentence, attention of cells over words, then an inverted bottleneck."""

    def __init__(
        self, channels: int, width: int, heads: int = 4, expand: float = 2.0, kernel: int = 3, gate: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.film = nn.Linear(width, 2 * channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(width, 2 * channels)
        self.out = nn.Conv2d(channels, channels, 1)
        self.block = InvertedBottleneck(channels, expand, kernel, gate)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        n, channels, height, width = x.shape
        scale, shift = self.film(prompt.sentence)[..., None, None].chunk(2, 1)
        x = x * (1 + scale) + shift
        query = cells_last(self.query(x)).view(n, height * width, self.heads, channels // self.heads).transpose(1, 2)
        key_value = self.key_value(prompt.tokens).view(n, -1, 2, self.heads, channels // self.heads)
        key, value = key_value.permute(2, 0, 3, 1, 4)
        logits = (query @ key.transpose(2, 3)) * (channels // self.heads) ** -0.5
        hidden = (prompt.mask == 0)[:, None, None].to(logits.dtype) * MASKED
        mixed = (logits + hidden).softmax(-1) @ value
        mixed = mixed.transpose(1, 2).reshape(n, height, width, channels).permute(0, 3, 1, 2)
        return self.block(x + self.out(mixed))


class PromptPAN(TopDown):
    """FiLM and attention over words at every stride, channel gates at strides 32 and 16."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels)
        self.mix5 = PromptMix(channels, width, expand=4, kernel=5, gate=True)
        self.mix4 = PromptMix(channels, width, expand=4, gate=True)
        self.mix3 = PromptMix(channels, width)
        self.head = InvertedBottleneck(channels)


def fully_conv_optim(
    channels: tuple[int, ...], text_dim: int, *, maps: int = 96, fine: int = 32, width: int = 128, dropout: float = 0.0
) -> LightTransformer:
    """Build the family.

    Args:
        channels: Backbone channels at strides 4, 8, 16, 32.
        text_dim: Width of the text encoder.
        maps: Width of the feature maps.
        fine: Width of the stride-4 map.
        width: Width of the tokens.
        dropout: Dropout of the projected prompt.
    """
    return LightTransformer(
        GhostPAN(channels, maps, fine),
        PromptPAN(maps, width),
        channels=maps,
        fine_channels=fine,
        width=width,
        text_dim=text_dim,
        dropout=dropout,
    )
