"""Masks of chosen queries by convolutions whose weights the query itself supplies (CondInst, Tian et al., 2020)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from humar_edge.models.original.layers import Mlp

CHANNELS = 16
STRIDE = 8
# Pixel offsets reach hundreds; a power of two scales them without changing a bit of the product.
_OFFSET_SCALE = 256.0


@cache
def bicubic_matrix(source: int, target: int) -> np.ndarray:
    """Weights of a bicubic resize of one axis (Keys' kernel with a = -0.75, pixel centres, borders repeated).

    The whole resize is then two products of matrices, which every inference engine computes alike.

    Returns:
        float32 [target, source].
    """
    a = -0.75
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    first = np.floor(position).astype(int) - 1
    matrix = np.zeros((target, source))
    for tap in range(4):
        distance = np.abs(position - (first + tap))
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        cells = np.clip(first + tap, 0, source - 1)
        np.add.at(matrix, (np.arange(target), cells), np.where(distance <= 1, near, far))
    return matrix.astype(np.float32)


def _resize_bicubic(feature_map: Tensor, height: int, width: int) -> Tensor:
    rows = torch.from_numpy(bicubic_matrix(int(feature_map.shape[2]), height)).to(feature_map)
    columns = torch.from_numpy(bicubic_matrix(int(feature_map.shape[3]), width)).to(feature_map)
    return rows @ feature_map @ columns.T


class MaskRefiner(nn.Module):
    """Two residual refinements with the backbone's maps at strides 8 and 4."""

    def __init__(self, stride4: int, stride8: int) -> None:
        super().__init__()
        self.conv1_8 = nn.Conv2d(CHANNELS + stride8, CHANNELS, 3, padding=1)
        self.conv2_8 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv1_4 = nn.Conv2d(CHANNELS + stride4, CHANNELS, 3, padding=1)
        self.conv2_4 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, z: Tensor, map4: Tensor, map8: Tensor) -> Tensor:
        """[n,16,H/8,W/8] -> [n,16,H/4,W/4]; the maps have the same n in front."""
        # The first rectifier acts on the backbone's map as well.
        z = z + self.conv2_8(functional.relu(self.conv1_8(functional.relu(torch.cat((z, map8), 1)))))
        size = (int(map4.shape[2]), int(map4.shape[3]))
        z = functional.interpolate(z, size, mode="bilinear", align_corners=False)
        return z + self.conv2_4(functional.relu(self.conv1_4(functional.relu(torch.cat((z, map4), 1)))))


class MaskHead(nn.Module):
    """Mask branch.

    Args:
        width: channels of the transformer.
        stride4: channels of the backbone's map at stride 4.
        stride8: channels of the backbone's map at stride 8.
    """

    def __init__(self, width: int, stride4: int, stride8: int) -> None:
        super().__init__()
        self.sizes = (CHANNELS * (width + 2), CHANNELS * CHANNELS, CHANNELS, CHANNELS)
        self.controller = Mlp(width, width, sum(self.sizes), 3)
        self.refine = MaskRefiner(stride4, stride8)

    def forward(self, tokens: Tensor, centres: Tensor, levels: list[Tensor], map4: Tensor, map8: Tensor) -> Tensor:
        """Decode masks; queries do not influence each other.

        Args:
            tokens: float [B,n,C], person tokens of the chosen queries.
            centres: float [B,n,2], (x, y) in pixels of the canvas.
            levels: memory maps [B,C,h,w] at strides 8, 16 and 32.
            map4: float [B,c,H/4,W/4] of the backbone.
            map8: float [B,c,H/8,W/8] of the backbone.

        Returns:
            float [B,n,16,H/4,W/4]: channel 4i+j holds the logits of pixels (4r+i, 4c+j), see `to_pixels` and
            `to_stride4`.
        """
        batch, count, width = (int(size) for size in tokens.shape)
        height, columns = int(levels[0].shape[2]), int(levels[0].shape[3])
        features = levels[0]
        for level in levels[1:]:
            features = features + _resize_bicubic(level, height, columns)
        w0, w1, b0, b1 = self.controller(tokens).split(self.sizes, -1)
        w0 = w0.unflatten(-1, (CHANNELS, width + 2))
        w1 = w1.unflatten(-1, (CHANNELS, CHANNELS))

        # Weights of the features and of the two offsets apart, so that the features are not copied per query.
        z = w0[..., :width].flatten(1, 2) @ features.flatten(2)
        z = z.reshape(batch, count, CHANNELS, height * columns)
        offsets = (centres[:, :, None] - _pixel_grid(height, columns, centres)) / _OFFSET_SCALE
        z = z + (w0[..., width:] * _OFFSET_SCALE) @ offsets.transpose(-1, -2)
        z = w1 @ functional.relu(z + b0[..., None]) + b1[..., None]

        z = z.reshape(batch * count, CHANNELS, height, columns)
        refined = self.refine(z, _per_query(map4, count), _per_query(map8, count))
        return refined.unflatten(0, (batch, count))


def _pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres (x, y) of the cells at stride 8, float [h·w,2]."""
    x = torch.arange(width, device=like.device) * float(STRIDE) + STRIDE // 2
    y = torch.arange(height, device=like.device) * float(STRIDE) + STRIDE // 2
    return torch.stack((x[None, :].expand(height, -1), y[:, None].expand(-1, width)), -1).flatten(0, 1)


def _per_query(feature_map: Tensor, count: int) -> Tensor:
    return feature_map if count == 1 else feature_map.repeat_interleave(count, 0)


def to_pixels(z: Tensor) -> Tensor:
    """[...,16,h,w] -> logits [...,4h,4w] of every pixel."""
    return functional.pixel_shuffle(z, 4).squeeze(-3)


def to_stride4(z: Tensor) -> Tensor:
    """[...,16,h,w] -> logits [...,h,w]: the mean of the 4×4 pixels of each cell (the mean of their logits)."""
    return z.mean(-3)
