"""How every light family carries a prompt through its pyramid."""

from __future__ import annotations

from torch import Tensor, nn

from humar_edge.models.blocks import upsample
from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.light import Pyramid


class TopDown(nn.Module):
    """Carries the prompt coarse to fine, to the map in which the chosen person is decoded.

    Attributes:
        heat: Map of a positional prompt -> stride-8 features.
        mix5, mix4, mix3: Features [N,C,h,w] at strides 32, 16, 8 and a prompt -> features of that shape; by the family.
        head: The last convolutions; by the family.
    """

    mix5: nn.Module
    mix4: nn.Module
    mix3: nn.Module
    head: nn.Module

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heat = nn.Conv2d(1, channels, 1, bias=False)

    def forward(self, pyramid: Pyramid, prompt: Prompt) -> Tensor:
        """Stride-8 features [N,C,h,w] conditioned on one prompt per row."""
        p3 = pyramid.p3 if prompt.heat is None else pyramid.p3 + self.heat(prompt.heat)
        x5 = self.mix5(pyramid.p5, prompt)
        x4 = self.mix4(pyramid.p4 + upsample(x5, pyramid.p4), prompt)
        x3 = self.mix3(p3 + upsample(x4, p3), prompt)
        features: Tensor = self.head(x3)
        return features
