"""Keypoints and mask of the chosen person, on a window around the box.

The window is read from the conditioned map and a finer unconditioned one, so the work per person is constant and
people of all sizes get the same resolution. Soft-argmax keypoints start a stage of 18 tokens that reads the features
at each keypoint, lets them exchange (`graph`), and refines keypoints, visibility and box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.blocks import ConvNorm, InvertedBottleneck, cell_centres, cells_last
from humar_edge.models.heads.graph import GraphLayer
from humar_edge.models.heads.resample import crop

KEYPOINTS = 17
WINDOW = (64, 48)
"""Rows and columns of the window; people are taller than wide."""
MARGIN = 1.3
"""Window over box, so that a box that is a little off still shows the whole person."""
MIN_WINDOW = 0.04
"""Least side of a window, as a share of the canvas."""


class Instance(NamedTuple):
    """Outputs for the chosen people; coordinates in units of the canvas, float32.

    Attributes:
        box: [N,4] xyxy, refined.
        keypoints: [N,17,2] (x, y), refined.
        coarse: [N,17,2] soft-argmax keypoints before refinement.
        heatmaps: [N,17,rows,columns] logits on the window.
        visibility: [N,17] logits.
        mask: [N,rows,columns] logits on the window.
        corner: [N,2] top-left corner of the window.
        size: [N,2] width and height of the window.
    """

    box: Tensor
    keypoints: Tensor
    coarse: Tensor
    heatmaps: Tensor
    visibility: Tensor
    mask: Tensor
    corner: Tensor
    size: Tensor


def window(box: Tensor) -> tuple[Tensor, Tensor]:
    """Corner and size, float32 [N,2] each, of the window around xyxy boxes [N,4]."""
    box = box.float()
    size = ((box[:, 2:] - box[:, :2]) * MARGIN).clamp(min=MIN_WINDOW)
    return (box[:, :2] + box[:, 2:]) / 2 - size / 2, size


class InstanceHead(nn.Module):
    """Keypoints, visibility, mask and refined box of one person per row."""

    def __init__(self, channels: int, fine_channels: int, width: int, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.coarse_in = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fine_in = nn.Conv2d(fine_channels, hidden, 1, bias=False)
        self.position = nn.Conv2d(2, hidden, 1)
        self.describe = nn.Sequential(nn.Linear(width + 4, width), nn.ReLU())
        self.modulate = nn.Linear(width, 2 * hidden)
        self.stem = InvertedBottleneck(hidden)
        self.down = ConvNorm(hidden, 2 * hidden, 3, stride=2)
        self.body = nn.Sequential(*[InvertedBottleneck(2 * hidden) for _ in range(3)])
        self.up = ConvNorm(2 * hidden, hidden, act=False)
        self.tail = InvertedBottleneck(hidden)
        self.heatmap = nn.Conv2d(hidden, KEYPOINTS, 1)
        self.mask = nn.Conv2d(hidden, 1, 1)
        self.read = nn.Linear(hidden + 2, width)
        self.kinds = nn.Parameter(torch.randn(KEYPOINTS + 1, width) * 0.02)
        self.graph = nn.ModuleList([GraphLayer(width, 4, KEYPOINTS + 1) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.move = nn.Linear(width, 2)
        self.seen = nn.Linear(width, 1)
        self.resize = nn.Linear(width, 4)
        for layer in (self.modulate, self.move, self.resize):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, fine: Tensor, embedding: Tensor, box: Tensor) -> Instance:
        """Decode the people in `box`.

        Args:
            x: [N,C,h,w] conditioned features (stride 8).
            fine: [N,F,2h,2w] unconditioned features (stride 4).
            embedding: [N,E] description of each chosen person.
            box: float32 [N,4] xyxy in units of the canvas; no gradient flows into it.
        """
        box = box.detach().float()
        corner, size = window(box)
        shape = torch.cat([box[:, :2], box[:, 2:] - box[:, :2]], 1).to(x.dtype)
        token = self.describe(torch.cat([embedding, shape], 1))
        scale, shift = self.modulate(token)[:, None, None].chunk(2, 3)
        grid = cell_centres(*WINDOW, x.device)
        # channels last as long as places do not matter, as crops are
        finer = self.fine_in(crop(fine, corner, size, WINDOW).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        z = crop(self.coarse_in(x), corner, size, WINDOW) + finer
        z = (z * (1 + scale) + shift).permute(0, 3, 1, 2)
        z = self.stem(z + self.position(grid[None].to(x.dtype)))
        z = z + F.interpolate(self.up(self.body(self.down(z))), scale_factor=2.0, mode="nearest")
        z = self.tail(z)
        heatmaps = self.heatmap(z).float()
        share = heatmaps.flatten(2).softmax(2)
        local = share @ grid.flatten(1).transpose(0, 1)
        tokens = self.read(torch.cat([share.to(z.dtype) @ cells_last(z), local.to(z.dtype)], 2))
        tokens = torch.cat([token[:, None], tokens], 1) + self.kinds
        for layer in self.graph:
            tokens = layer(tokens)
        tokens = self.norm(tokens).float()
        refined = local + self.move(tokens[:, 1:])
        delta = self.resize(tokens[:, 0])
        sides = box[:, 2:] - box[:, :2]
        return Instance(
            box=box + delta * torch.cat([sides, sides], 1),
            keypoints=corner[:, None] + refined * size[:, None],
            coarse=corner[:, None] + local * size[:, None],
            heatmaps=heatmaps,
            visibility=self.seen(tokens[:, 1:])[..., 0],
            mask=self.mask(z)[:, 0].float(),
            corner=corner,
            size=size,
        )
