"""Where people are, whatever the prompt: an objectness and a box for every cell, and the peaks of the former."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humar_edge.models.blocks import InvertedBottleneck, cell_centres, cells_last

PEAKS = 24
"""People at most among whom a prompt chooses."""


class Proposals(NamedTuple):
    """Dense outputs, one column per cell (row-major).

    Attributes:
        objectness: float32 [B,cells] logits, comparable within a picture.
        boxes: float32 [B,cells,4] xyxy in units of the canvas.
    """

    objectness: Tensor
    boxes: Tensor


class ProposalHead(nn.Module):
    """Objectness and boxes of all cells of the stride-8 map."""

    SIDE_CELLS = 8.0
    """Sides are regressed in units of so many cells, so that a person of the same pixels gets the same sides at any
    input size; an untrained side is softplus(0) * 8 = 5.5 cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = InvertedBottleneck(channels)
        self.score = nn.Conv2d(channels, 1, 1)
        self.sides = nn.Conv2d(channels, 4, 1)
        nn.init.zeros_(self.sides.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Proposals:
        """[B,C,h,w] -> Proposals."""
        height, width = x.shape[-2:]
        x = self.stem(x)
        unit = torch.tensor([self.SIDE_CELLS / width, self.SIDE_CELLS / height] * 2, device=x.device)
        sides = F.softplus(self.sides(x).float()) * unit[:, None, None]
        centres = cell_centres(height, width, x.device)
        boxes = torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], 1)
        return Proposals(self.score(x).float().flatten(1), cells_last(boxes))


class Candidates(NamedTuple):
    """The K best places of each picture, best first.

    Attributes:
        cells: int64 [B,K] of the stride-8 map.
        boxes: float32 [B,K,4] xyxy in units of the canvas, without gradient.
        score: float32 [B,K] objectness over that of the best one, at most 0, without gradient.
    """

    cells: Tensor
    boxes: Tensor
    score: Tensor


def candidates(proposals: Proposals, shape: tuple[int, int]) -> Candidates:
    """Among whom prompts choose, on a map of so many rows and columns."""
    return candidates_at(proposals, peaks(proposals.objectness, shape))


def candidates_at(proposals: Proposals, cells: Tensor) -> Candidates:
    """Candidates at given cells, int64 [B,K], best first."""
    boxes = proposals.boxes.detach().gather(1, cells[..., None].expand(-1, -1, 4))
    score = proposals.objectness.detach().gather(1, cells)
    return Candidates(cells, boxes, score - score[:, :1])


def peaks(objectness: Tensor, shape: tuple[int, int], count: int = PEAKS) -> Tensor:
    """Cells that are the best of their 3x3 neighbourhood, best first; other cells fill up what is missing.

    Args:
        objectness: [B,cells].
        shape: Rows and columns.
        count: Cells to return, at most as many as there are.

    Returns:
        int64 [B,count].
    """
    plane = objectness.unflatten(1, shape)[:, None]
    sign = 1.0 - 2.0 * (plane < F.max_pool2d(plane, 3, 1, 1)).to(plane.dtype)
    # Peaks above zero, the rest below, both in order. An offset would do if it did not round the rest to equal values,
    # among which every runtime has another order.
    ranked = sign * (sign * plane).exp()
    return ranked.flatten(1).topk(min(count, objectness.shape[1]), 1).indices
