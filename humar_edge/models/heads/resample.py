"""Crops and pastes as products with interpolation matrices.

A bilinear resampling with axis-aligned boxes is separable: `rows @ map @ columns`. Two matrix products need no
GridSample (whose parser support varies), anti-alias when they shrink, and keep all coordinates in FP32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop_matrix(start: Tensor, size: Tensor, cells: int, inputs: int) -> Tensor:
    """Weights that read `cells` samples from an axis of `inputs` cells.

    Args:
        start: [...] starts of intervals, as shares of the axis (may lie outside [0,1]).
        size: [...] lengths of the intervals, as shares of the axis.
        cells: Samples to read, at the centres of equal parts of the interval.
        inputs: Cells of the axis that is read.

    Returns:
        float32 [...,cells,inputs]; a hat function as wide as the distance of the samples (at least one cell), zero
        outside the axis.
    """
    start, size = start.float()[..., None], size.float()[..., None]
    steps = (torch.arange(cells, device=start.device, dtype=torch.float32) + 0.5) / cells
    centres = (start + size * steps) * inputs - 0.5
    support = (size * (inputs / cells)).clamp(min=1.0)[..., None]
    index = torch.arange(inputs, device=start.device, dtype=torch.float32)
    weights = (1.0 - (centres[..., None] - index).abs() / support).clamp(min=0.0)
    # inside, the sum is the support give or take the lattice's ripple; near the border it drops, and stays dropped
    return weights / torch.maximum(weights.sum(-1, keepdim=True), 0.9 * support)


def crop(maps: Tensor, corner: Tensor, size: Tensor, cells: tuple[int, int]) -> Tensor:
    """Read one axis-aligned window per map.

    Args:
        maps: [N,C,H,W].
        corner: [N,2] top-left corner (x, y) of the windows in [0,1] of the map.
        size: [N,2] width and height of the windows, same unit.
        cells: Rows and columns of the result.

    Returns:
        [N,rows,columns,C], zero outside the map.
    """
    return crop_many(maps, corner[:, None], size[:, None], cells)[:, 0]


def crop_many(maps: Tensor, corner: Tensor, size: Tensor, cells: tuple[int, int]) -> Tensor:
    """Read several windows of each map: `crop` without a copy of the map per window.

    Channels are last in the result and in between, as runtimes store maps: so nothing is copied into another order, and
    the products have whole rows of channels to run along.

    Args:
        maps: [B,C,H,W].
        corner: [B,K,2] top-left corners (x, y), see `crop`.
        size: [B,K,2] widths and heights.
        cells: Rows and columns of each result.

    Returns:
        [B,K,rows,columns,C].
    """
    batch, channels, height, width = maps.shape
    windows = corner.shape[1]
    columns = crop_matrix(corner[..., 0], size[..., 0], cells[1], width).to(maps.dtype)
    rows = crop_matrix(corner[..., 1], size[..., 1], cells[0], height).to(maps.dtype).flatten(1, 2)
    bands = rows @ maps.permute(0, 2, 3, 1).flatten(2)
    return columns[:, :, None] @ bands.view(batch, windows, cells[0], width, channels)


def paste_matrix(start: Tensor, size: Tensor, cells: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Weights that write a window of `cells` samples to an axis of `outputs` cells.

    Returns:
        float32 [N,outputs,cells] (rows sum to 1; beyond the last sample it is repeated) and float32 [N,outputs],
        1 where an output cell lies in the window.
    """
    start, size = start.float(), size.float()
    centres = (torch.arange(outputs, device=start.device, dtype=torch.float32) + 0.5) / outputs
    position = (centres - start[:, None]) / size[:, None] * cells
    inside = ((position >= 0) & (position <= cells)).float()
    position = (position - 0.5).clamp(0, cells - 1)
    index = torch.arange(cells, device=start.device, dtype=torch.float32)
    return (1.0 - (position[:, :, None] - index).abs()).clamp(min=0.0), inside


def paste(windows: Tensor, corner: Tensor, size: Tensor, shape: tuple[int, int], outside: float) -> Tensor:
    """Inverse of `crop` for one map each: write [N,rows,columns] windows into [N,H,W] maps filled with `outside`."""
    rows, inside_rows = paste_matrix(corner[:, 1], size[:, 1], windows.shape[1], shape[0])
    columns, inside_columns = paste_matrix(corner[:, 0], size[:, 0], windows.shape[2], shape[1])
    full = rows @ windows.float() @ columns.transpose(1, 2)
    inside = inside_rows[:, :, None] * inside_columns[:, None, :]
    return full * inside + outside * (1.0 - inside)


def sample_matrix(points: Tensor, height: int, width: int) -> Tensor:
    """Bilinear weights that read a map at points.

    Args:
        points: [N,P,2] (x, y) in [0,1].
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        float32 [N,P,height*width]; border cells are repeated, so each row sums to 1.
    """
    x = (points[..., 0].float() * width - 0.5).clamp(0, width - 1)
    y = (points[..., 1].float() * height - 0.5).clamp(0, height - 1)
    columns = (1.0 - (x[..., None] - torch.arange(width, device=points.device)).abs()).clamp(min=0.0)
    rows = (1.0 - (y[..., None] - torch.arange(height, device=points.device)).abs()).clamp(min=0.0)
    return (rows[..., :, None] * columns[..., None, :]).flatten(2)
