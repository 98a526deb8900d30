"""Swin Transformer (Liu et al., 2021) with four normalised exports and the parameter names of published checkpoints.

The only size in use is Swin-T, `swin_T_224_1k`, the default backbone of UniPHD. Any input size works: the picture is
padded to patches, the grid to windows, and odd grids to pairs, always with zeros on the right and at the bottom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 7
SHIFT = 3
_FOREIGN_REGION = -100.0
# Entries of classification checkpoints that a feature extractor has no place for.
_CLASSIFIER_ONLY = re.compile(r"(head|head\.fc|norm)\.(weight|bias)|layers\.\d+\.blocks\.\d+\.attn_mask")
_EXPORT_NORM = re.compile(r"norm\d\.")
_DOWNSAMPLE = re.compile(r"layers\.(\d+)\.downsample")


def relative_position_index(window: int = WINDOW) -> Tensor:
    """Row of the bias table for every pair of cells of a window, int64 [window², window²], cells in row-major order."""
    row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    row, column = row.flatten(), column.flatten()
    rows = row[:, None] - row[None, :] + window - 1
    columns = column[:, None] - column[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shifted_window_mask(height: int, width: int, window: int = WINDOW, shift: int = SHIFT) -> Tensor:
    """Additive attention mask of shifted windows: -100 between cells that were not neighbours before the roll.

    Args:
        height: rows of the padded grid, a multiple of `window`.
        width: columns of the padded grid, a multiple of `window`.
        window: side of a window.
        shift: cells by which the grid was rolled.

    Returns:
        float32 [windows, window², window²].
    """

    def bands(size: int) -> Tensor:
        position = torch.arange(size)
        return (position >= size - window).long() + (position >= size - shift).long()

    labels = 3 * bands(height)[:, None] + bands(width)[None, :]
    labels = _to_windows(labels[None, :, :, None], window).squeeze(-1)
    return (labels[:, :, None] != labels[:, None, :]).float() * _FOREIGN_REGION


def _to_windows(grid: Tensor, window: int) -> Tensor:
    """[B,H,W,C] -> [B·windows, window², C]; H and W are multiples of the window."""
    batch, height, width, channels = (int(size) for size in grid.shape)
    grid = grid.reshape(batch, height // window, window, width // window, window, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def _from_windows(windows: Tensor, height: int, width: int, window: int) -> Tensor:
    """Inverse of `_to_windows`."""
    channels = int(windows.shape[-1])
    grid = windows.reshape(-1, height // window, width // window, window, window, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


class DropPath(nn.Module):
    """Drops the whole residual branch of a sample with the given probability while training."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        kept = torch.rand((x.shape[0],) + (1,) * (x.dim() - 1), device=x.device) < keep
        return x * kept.to(x.dtype) / keep


class WindowAttention(nn.Module):
    """Multi-head attention inside windows with a learnt relative position bias."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index())
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each of the windows [B·n, 49, C]; `mask` is float [n, 49, 49] or None."""
        count, cells, width = (int(size) for size in windows.shape)
        qkv = self.qkv(windows).reshape(count, cells, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0] * self.scale, qkv[1], qkv[2]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        logits = query @ key.transpose(-1, -2) + bias.reshape(cells, cells, self.heads).permute(2, 0, 1)
        if mask is not None:
            kinds = int(mask.shape[0])
            logits = logits.reshape(-1, kinds, self.heads, cells, cells) + mask[:, None]
            logits = logits.reshape(count, self.heads, cells, cells)
        return self.proj((logits.softmax(-1) @ value).transpose(1, 2).reshape(count, cells, width))


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Pre-norm block on a channel-last grid; `shift` > 0 rolls the windows."""

    def __init__(self, width: int, heads: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[1]), int(x.shape[2])
        # Padding comes after the norm: padded cells are zero vectors that take part in the attention.
        grid = functional.pad(self.norm1(x), (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        rows, columns = int(grid.shape[1]), int(grid.shape[2])
        mask = None
        if self.shift:
            grid = torch.roll(grid, (-self.shift, -self.shift), (1, 2))
            mask = shifted_window_mask(rows, columns, shift=self.shift).to(x)
        grid = _from_windows(self.attn(_to_windows(grid, WINDOW), mask), rows, columns, WINDOW)
        if self.shift:
            grid = torch.roll(grid, (self.shift, self.shift), (1, 2))
        x = x + self.drop_path(grid[:, :height, :width])
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchMerging(nn.Module):
    """Joins 2×2 neighbours: half the size, twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, 0, int(x.shape[2]) % 2, 0, int(x.shape[1]) % 2))
        corners = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(corners, -1)))


class PatchEmbed(nn.Module):
    """4×4 patches to vectors on a channel-last grid, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, 4)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        images = functional.pad(images, (0, -int(images.shape[3]) % 4, 0, -int(images.shape[2]) % 4))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks of one resolution and, except in the last stage, the step to the next one."""

    def __init__(self, width: int, heads: int, drop_paths: list[float], last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, SHIFT if index % 2 else 0, rate) for index, rate in enumerate(drop_paths)
        )
        self.downsample = None if last else PatchMerging(width)


class SwinTransformer(nn.Module):
    """Swin backbone.

    Args:
        width: channels of the first stage; each later stage doubles them.
        depths: blocks per stage.
        heads: attention heads per stage.
        drop_path: stochastic depth of the last block; it grows linearly from 0 over the blocks.

    Attributes:
        channels: channels of the four maps that `forward` returns.
    """

    def __init__(
        self,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.patch_embed = PatchEmbed(width)
        rates = torch.linspace(0.0, drop_path, sum(depths)).tolist()
        ends = [sum(depths[: index + 1]) for index in range(len(depths))]
        self.layers = nn.ModuleList(
            Stage(channels, head, rates[end - depth : end], last=end == ends[-1])
            for channels, head, depth, end in zip(self.channels, heads, depths, ends, strict=True)
        )
        for index, channels in enumerate(self.channels):
            self.add_module(f"norm{index}", nn.LayerNorm(channels))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of normalised pictures.

        Args:
            images: float [B,3,H,W], ImageNet-normalised, any size.

        Returns:
            Four maps [B,C,h,w] at strides 4, 8, 16 and 32 (sizes rounded up), each through its own layer norm.
        """
        x = self.patch_embed(images)
        maps = []
        for index, stage in enumerate(self.layers):
            for block in stage.blocks:  # type: ignore[union-attr]
                x = block(x)
            # Only the export is normalised; the next stage continues from the plain tensor.
            maps.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)  # type: ignore[operator]
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def swin_tiny(drop_path: float = 0.2) -> SwinTransformer:
    """Swin-T, the backbone `swin_T_224_1k`: channels 96, 192, 384, 768."""
    return SwinTransformer(drop_path=drop_path)


def adopt_swin(network: SwinTransformer, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of an ImageNet classification checkpoint as a state dict of `network`.

    Accepts the authors' names and timm's, which count the step between two stages to the later one. Head and final norm
    are left out; export norms and position indices, which such checkpoints lack, stay as they are.

    Args:
        network: the backbone to be filled.
        published: the checkpoint's state dict.
    """
    timm_naming = "layers.3.downsample.norm.weight" in published
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name.endswith("relative_position_index") or _EXPORT_NORM.match(name)
    }
    for name, tensor in published.items():
        if _CLASSIFIER_ONLY.fullmatch(name):
            continue
        if timm_naming:
            name = _DOWNSAMPLE.sub(lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
        state[name] = tensor
    return state
