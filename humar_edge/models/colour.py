"""Colours as features: which of a grid of reference colours the pixels of a cell have."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.backbones.pyramid import IMAGENET_MEAN, IMAGENET_STD


class ColourBins(nn.Module):
    """A soft histogram over 4x4x4 reference colours per cell of stride 8, and a linear map of it.

    Words for colours are what prompts use most, and a backbone trained to tell classes of objects apart keeps little of
    them where it has context: a linear classifier of "in red" on the features of a person reaches an AUROC of 0.57 at
    stride 32, 0.89 after the neck and 0.97 on these histograms (`docs/experiments.md`). Soft assignment is a softmax
    over -|x - c|^2 / (2 s^2), whose part that depends on the colour c is linear in x, so it costs one 1x1 convolution.
    """

    SIDE, SPREAD = 4, 0.14
    """Reference colours per axis, and s in units of RGB values in [0,1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        steps = [step / (self.SIDE - 1) for step in range(self.SIDE)]
        colours = torch.tensor(list(itertools.product(steps, repeat=3)))
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        scale = 2 * self.SPREAD**2
        # on normalised pixels z, x = std z + mean: (2 x.c - |c|^2) / scale
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", (2 * colours * std / scale)[..., None, None], persistent=False)
        self.register_buffer("bias", (2 * colours @ mean - colours.square().sum(1)) / scale, persistent=False)
        self.project = nn.Conv2d(len(colours), channels, 1, bias=False)

    def shares(self, image: Tensor) -> Tensor:
        """Normalised images [B,3,H,W] -> [B,64,H/8,W/8], sums over channels are 1."""
        pixels = F.avg_pool2d(image, 4)
        logits = F.conv2d(pixels, self.weight, self.bias)
        # runtimes store maps channels last, and would reorder them for a softmax over any other axis
        return F.avg_pool2d(logits.permute(0, 2, 3, 1).softmax(3).permute(0, 3, 1, 2), 2)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised images [B,3,H,W] -> [B,C,H/8,W/8]."""
        found: Tensor = self.project(self.shares(image))
        return found
