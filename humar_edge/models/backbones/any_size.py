"""EfficientFormer (v1 and v2) at any input size: their attention biases are tables made for 224 pixels.

The tables hold one bias per head for each distance (rows, columns) between two cells of a 7x7 or 14x14 grid. On another
grid they are resampled linearly so that distance 0 stays distance 0 and the longest stays the longest. The resampling
is a product with two constant matrices, so an exported graph folds it into a constant.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from humar_edge.models.backbones.timm_backbone import TimmBackbone, import_timm


def resampling_matrix(old: int, new: int) -> Tensor:
    """Linear interpolation from `old` to `new` points, ends aligned: float32 [new, old], rows sum to 1."""
    place = torch.linspace(0, old - 1, new)
    return (1 - (place[:, None] - torch.arange(old)[None, :]).abs()).clamp(min=0)


def resampled_biases(table: Tensor, old: tuple[int, int], grid: tuple[int, int], step: int = 1) -> Tensor:
    """Attention biases on a grid.

    Args:
        table: [heads, old rows x old columns], by distance between cells.
        old: The grid the table was made for.
        grid: The grid of the keys.
        step: Queries are every `step`-th cell of it.

    Returns:
        [heads, queries, keys], both row-major.
    """
    if grid != old:
        rows = resampling_matrix(old[0], grid[0]).to(table)
        columns = resampling_matrix(old[1], grid[1]).to(table)
        table = (rows @ table.reshape(-1, *old) @ columns.t()).flatten(1)
    row, column = (torch.arange(side, device=table.device) for side in grid)
    keys = torch.cartesian_prod(row, column)
    queries = torch.cartesian_prod(row[::step], column[::step])
    distance = (queries[:, None] - keys[None, :]).abs()
    return table[:, distance[..., 0] * grid[1] + distance[..., 1]]


class _Resampled:
    """What the three kinds of attention share; mixed into timm's classes, whose state names stay as they are."""

    attention_biases: Any
    table_grid: tuple[int, int]
    grid: tuple[int, int]
    step = 1

    def get_attention_biases(self, device: torch.device) -> Tensor:
        """Replaces timm's lookup, which knows one grid only."""
        return resampled_biases(self.attention_biases, self.table_grid, self.grid, self.step)

    def set_grid(self, height: int, width: int) -> None:
        """Tell the grid of the next input."""
        self.grid = (height, width)


@lru_cache(maxsize=1)
def _classes() -> dict[type[nn.Module], type[nn.Module]]:
    """timm's attention classes and ours that replace them."""
    import_timm()
    from timm.models.efficientformer import Attention
    from timm.models.efficientformer_v2 import Attention2d, Attention2dDownsample

    class TokenAttention(_Resampled, Attention):
        """EfficientFormer v1: tokens only, the grid is told by the flattening layer before."""

    class GridAttention(_Resampled, Attention2d):
        """EfficientFormer v2, on a grid that may be halved first."""

        resolution: Any

        def forward(self, grid: Tensor) -> Tensor:
            halved = 1 if self.stride_conv is None else 2
            self.set_grid(*(math.ceil(int(side) / halved) for side in grid.shape[2:]))
            self.resolution, self.N = self.grid, self.grid[0] * self.grid[1]
            found: Tensor = super().forward(grid)
            return found

    class DownsampleAttention(_Resampled, Attention2dDownsample):
        """EfficientFormer v2 between its last stages: queries at every other cell."""

        step = 2
        resolution: Any
        resolution2: Any

        def forward(self, grid: Tensor) -> Tensor:
            self.set_grid(*(int(side) for side in grid.shape[2:]))
            self.resolution2 = tuple(math.ceil(side / 2) for side in self.grid)
            self.N, self.N2 = self.grid[0] * self.grid[1], self.resolution2[0] * self.resolution2[1]
            found: Tensor = super().forward(grid)
            return found

    return {Attention: TokenAttention, Attention2d: GridAttention, Attention2dDownsample: DownsampleAttention}


class _GridNotes:
    """Forward hook of v1's flattening layer: tells the attentions after it how the tokens lie."""

    def __init__(self, listeners: list[Any]) -> None:
        self.listeners = listeners

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for listener in self.listeners:
            listener.set_grid(int(inputs[0].shape[2]), int(inputs[0].shape[3]))


def efficientformer(arch: str, indices: tuple[int, int, int, int]) -> TimmBackbone:
    """An EfficientFormer of either version whose attention follows the size of its input.

    Args:
        arch: Architecture name of timm.
        indices: Feature levels with strides 4, 8, 16 and 32.
    """
    model = TimmBackbone(arch, indices)
    replacements = _classes()
    changed: list[Any] = [module for module in model.modules() if type(module) in replacements]
    for module in changed:
        side = math.isqrt(int(module.attention_biases.shape[1]))
        module.table_grid = module.grid = (side, side)
        module.__class__ = replacements[type(module)]
    for module in model.modules():
        if type(module).__name__ == "Flat":
            module.register_forward_pre_hook(_GridNotes(changed))
    return model
