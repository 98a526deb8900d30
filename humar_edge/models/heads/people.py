"""What can be known of the people in a picture before any prompt is read.

A prompt names things at places of a body (a hat, shoes) and compares people (the second from the left, the tallest), so
each person is read on a grid over the box, and all pairs are compared once per picture. What a prompt then costs is
small, and does not depend on the size of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.blocks import ConvNorm
from humar_edge.models.heads.proposals import Candidates
from humar_edge.models.heads.resample import crop_many

GRID = (8, 4)
"""Rows and columns of the grid over a person's box."""
INNER = slice(1, 3)
"""Columns that are mostly person."""
REACH = 1.15
"""Grid over box: hats and bags stick out."""
TWIN = (0.5, 0.7)
"""From this IoU with a better candidate on a candidate counts less, and from that on not at all: the same person."""
SHARP = 40.0
"""Steepness of comparisons of places, per unit of the canvas."""


class People(NamedTuple):
    """K candidates per picture, best first.

    Attributes:
        cells, boxes: See `Candidates`.
        person: [B,K,D] description of each.
        keys, values: [B,K,G,D] what is seen at the cells of the grid.
        relations: [B,layers*heads,K,K] how much each candidate (row) heeds each other one.
    """

    cells: Tensor
    boxes: Tensor
    person: Tensor
    keys: Tensor
    values: Tensor
    relations: Tensor

    def rows(self, index: Tensor) -> People:
        """The people of picture `index[n]` for each prompt n."""
        return People(*(value.index_select(0, index) for value in self))


def grid_window(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Corner and size, float32 [B,K,2] each, of the grids over xyxy boxes [B,K,4]."""
    size = (boxes[..., 2:] - boxes[..., :2]) * REACH
    return (boxes[..., :2] + boxes[..., 2:]) / 2 - size / 2, size


def overlaps(boxes: Tensor) -> Tensor:
    """IoU of all pairs of xyxy boxes [B,K,4] -> [B,K,K]."""
    corner = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    end = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (end - corner).clamp(min=0.0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0.0).prod(-1)
    return shared / (area[:, :, None] + area[:, None] - shared + 1e-6)


class PeopleEncoder(nn.Module):
    """Reads the candidates off the stride-8 map.

    Args:
        channels: Width of the map.
        width: Width of the tokens.
        relations: Maps of pairwise relations (layers times heads of the selection).
    """

    LOCAL = 32
    """Width of a grid cell in the description of the whole person."""

    def __init__(self, channels: int, width: int, relations: int) -> None:
        super().__init__()
        cells = GRID[0] * GRID[1]
        self.read = ConvNorm(channels, width, act=False)
        self.place = nn.Parameter(torch.randn(cells, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.key_value = nn.Linear(width, 2 * width)
        self.local = nn.Linear(width, self.LOCAL)
        self.whole = nn.Sequential(nn.Linear(cells * self.LOCAL, width), nn.ReLU(), nn.Linear(width, width))
        self.glance = nn.Linear(GRID[0] * width, width, bias=False)
        self.real = nn.Linear(width, 1)
        self.shape = nn.Linear(18, width)
        self.relate = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, relations))

    def forward(self, x: Tensor, found: Candidates) -> People:
        """Args: x [B,C,h,w] unconditioned features; found: places on the same map."""
        seen = crop_many(self.read(x), *grid_window(found.boxes), GRID)
        # the short way from features to description: what people wear from top to toe is nearly linear in them
        bands = seen[:, :, :, INNER].mean(3).transpose(2, 3).flatten(2)
        parts = self.norm(seen.flatten(2, 3) + self.place)
        parts = parts + self.mix(parts)
        keys, values = self.key_value(parts).chunk(2, -1)
        person = self.whole(F.relu(self.local(parts)).flatten(2)) + self.glance(bands)
        shape, pairs = self._compare(found.boxes, found.score, person)
        person = person + self.shape(shape.to(person.dtype))
        relations = self.relate(pairs.to(person.dtype)).permute(0, 3, 1, 2)
        return People(found.cells, found.boxes, person, keys, values, relations)

    def _compare(self, boxes: Tensor, score: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """What the boxes say of each candidate [B,K,18], and of each pair [B,K,K,8]."""
        middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
        better = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).tril(-1)
        same = (overlaps(boxes) * better).amax(2)
        alone = ((TWIN[1] - same) / (TWIN[1] - TWIN[0])).clamp(0.0, 1.0)
        real = self.real(person).float().sigmoid()[..., 0] * alone
        # left to right, top to bottom of the feet, small to tall: who comes how manieth among those who are real
        ranked = torch.stack([middle[..., 0], boxes[..., 3], size[..., 1]], -1)
        step = ranked[:, :, None] - ranked[:, None]
        before = ((step * SHARP).sigmoid() * real[:, None, :, None]).sum(2) - 0.5 * real[..., None]
        count = real.sum(1, keepdim=True).expand_as(real)[..., None]
        waves = [f(middle * torch.pi * 2.0) for f in (torch.sin, torch.cos)]
        facts = [middle, size, *waves, score[..., None] * 0.2, alone[..., None], real[..., None]]
        shape = torch.cat([*facts, before * 0.3, (count - before) * 0.3, count * 0.3], -1)
        tall = (size[:, :, None, 1] / size[:, None, :, 1]).log()[..., None]
        pairs = torch.cat([step * 4, (step * SHARP).tanh(), tall, real[:, None, :, None].expand_as(tall)], -1)
        return shape, pairs
