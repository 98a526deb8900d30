"""`fully_conv`: ConvNeXt blocks in a path aggregation network, prompt by FiLM and a gate over words; no attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import SPPF, ConvNorm, InvertedBottleneck, PositionBias, upsample
from humar_edge.models.convnext import ConvNeXtBlock, CSPNeXt
from humar_edge.models.prompting import MASKED, Prompt
from humar_edge.models.transformers.light import LightTransformer, Pyramid
from humar_edge.models.transformers.top_down import TopDown


class WordGate(nn.Module):
    """Lets values pass where a word fits: max over words, then a sigmoid (after YOLO-World, arXiv 2401.17270).

    Each head compares its share of the channels with its own projection of the words, so heads may listen to
    different words; there is no softmax over them.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Linear(width, channels)
        self.bias = nn.Parameter(torch.zeros(heads, 1, 1))
        self.value = ConvNorm(channels, channels, act=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w], without the residual."""
        n, channels, height, width = x.shape
        share = channels // self.heads
        query = self.query(x).view(n, self.heads, share, height * width)
        key = self.key(prompt.tokens).view(n, -1, self.heads, share).transpose(1, 2)
        logits = (key @ query) * share**-0.5 + self.bias
        hidden = (prompt.mask == 0)[:, None, :, None].to(logits.dtype) * MASKED
        gate = (logits + hidden).amax(2, keepdim=True).sigmoid().to(x.dtype)
        value = self.value(x).view(n, self.heads, share, height * width)
        return self.out((value * gate).view(n, channels, height, width))


class GatedMix(nn.Module):
    """Conditions one map: FiLM from the sentence, the gate over words, then `body`."""

    def __init__(self, channels: int, width: int, heads: int, body: nn.Module) -> None:
        super().__init__()
        self.film = nn.Linear(width, 2 * channels)
        self.words = WordGate(channels, width, heads)
        self.body = body
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, prompt: Prompt) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        scale, shift = self.film(prompt.sentence)[..., None, None].chunk(2, 1)
        x = x * (1 + scale) + shift
        return self.body(x + self.words(x, prompt))


class ConvNeXtPAN(nn.Module):
    """Path aggregation over strides 8, 16 and 32 with CSPNeXt blocks; a narrow map at stride 4 beside it.

    Args:
        inputs: Backbone channels at strides 4, 8, 16, 32.
        channels: Width of the maps.
        fine_channels: Width of the stride-4 map.
        depth: ConvNeXt blocks at strides 16 and 32 before the exchange between strides, and in each CSP stage.
    """

    def __init__(self, inputs: tuple[int, ...], channels: int, fine_channels: int, depth: int) -> None:
        super().__init__()
        self.fine = ConvNorm(inputs[0], fine_channels)
        self.detail = ConvNorm(fine_channels, channels, 3, stride=2, act=False)
        self.lateral = nn.ModuleList(
            [ConvNorm(inputs[1], channels), ConvNorm(inputs[2], channels), SPPF(inputs[3], channels)]
        )
        self.position = nn.ModuleList([PositionBias(channels) for _ in range(3)])
        self.refine = nn.ModuleList([nn.Sequential(*[ConvNeXtBlock(channels) for _ in range(depth)]) for _ in range(2)])
        # 7x7 kernels are slow on large maps: stride 8 gets one, on half of the channels
        self.down_path = nn.ModuleList(
            [CSPNeXt(2 * channels, channels, 1, expand=2), CSPNeXt(2 * channels, channels, depth)]
        )
        self.shrink = nn.ModuleList([ConvNorm(channels, channels, 3, stride=2, groups=channels) for _ in range(2)])
        self.up_path = nn.ModuleList([CSPNeXt(2 * channels, channels, depth) for _ in range(2)])

    def forward(self, features: list[Tensor]) -> Pyramid:
        """Four maps at strides 4, 8, 16, 32 -> Pyramid."""
        fine = self.fine(features[0])
        p3, p4, p5 = (
            place(lateral(x)) for place, lateral, x in zip(self.position, self.lateral, features[1:], strict=True)
        )
        p3 = p3 + self.detail(fine)  # colour is plainest in the shallow features
        p4, p5 = self.refine[0](p4), self.refine[1](p5)
        p4 = self.down_path[1](torch.cat([p4, upsample(p5, p4)], 1))
        p3 = self.down_path[0](torch.cat([p3, upsample(p4, p3)], 1))
        p4 = self.up_path[0](torch.cat([p4, self.shrink[0](p3)], 1))
        p5 = self.up_path[1](torch.cat([p5, self.shrink[1](p4)], 1))
        return Pyramid(fine, p3, p4, p5)


class GatedPAN(TopDown):
    """The 7x7 kernels at strides 16 and 32 see 112 and 224 pixels each, whole people without attention. Stride 8 has
    3x3 kernels only, because this part runs once per prompt."""

    def __init__(self, channels: int, width: int, heads: int, depth: int) -> None:
        super().__init__(channels)

        def large() -> nn.Module:
            return nn.Sequential(*[ConvNeXtBlock(channels) for _ in range(depth)])

        self.mix5 = GatedMix(channels, width, heads, large())
        self.mix4 = GatedMix(channels, width, heads, large())
        self.mix3 = GatedMix(channels, width, heads, InvertedBottleneck(channels, expand=1))
        self.head = InvertedBottleneck(channels, expand=1)


def fully_conv(
    channels: tuple[int, ...],
    text_dim: int,
    *,
    maps: int = 192,
    fine: int = 48,
    width: int = 256,
    heads: int = 8,
    depth: int = 4,
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
        heads: Gates over words per map; divides `maps`.
        depth: ConvNeXt blocks in a row.
        hidden: Width of the instance window.
        layers: Graph layers.
        dropout: Dropout of the projected prompt.
    """
    return LightTransformer(
        ConvNeXtPAN(channels, maps, fine, depth),
        GatedPAN(maps, width, heads, depth),
        channels=maps,
        fine_channels=fine,
        width=width,
        text_dim=text_dim,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
    )
