"""Convolution blocks of the light families."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cells_last(x: Tensor) -> Tensor:
    """The cells of maps as rows, [N,C,h,w] -> [N,h*w,C]; nothing moves where maps are stored channels last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm and, unless `act` is False, ReLU; padding keeps the size at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if act else []))


class SqueezeExcite(nn.Module):
    """Channel gate from the global mean (Hu et al., arXiv 1709.01507), with a hard sigmoid."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W], each channel scaled by a factor in [0,1]."""
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


class GhostModule(nn.Module):
    """Half of the outputs by a 1x1 convolution, half by a cheap depthwise one of the former (arXiv 1911.11907)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, act: bool = True) -> None:
        super().__init__()
        primary = (outputs + 1) // 2
        self.primary = ConvNorm(inputs, primary, act=act)
        self.cheap = ConvNorm(primary, outputs - primary, kernel, groups=outputs - primary, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,H,W]."""
        x = self.primary(x)
        return torch.cat([x, self.cheap(x)], 1)


class GhostBottleneck(nn.Module):
    """Ghost module, depthwise convolution, optional channel gate, ghost module; residual where widths agree."""

    def __init__(self, inputs: int, outputs: int, expand: float = 2.0, kernel: int = 3, gate: bool = False) -> None:
        super().__init__()
        hidden = int(outputs * expand)
        self.body = nn.Sequential(
            GhostModule(inputs, hidden),
            ConvNorm(hidden, hidden, kernel, groups=hidden, act=False),
            *([SqueezeExcite(hidden)] if gate else []),
            GhostModule(hidden, outputs, act=False),
        )
        self.skip = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,H,W]."""
        return self.skip(x) + self.body(x)


class InvertedBottleneck(nn.Module):
    """MobileNetV2 block (arXiv 1801.04381): widen, depthwise, optional channel gate, narrow; residual."""

    def __init__(self, channels: int, expand: float = 2.0, kernel: int = 3, gate: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expand)
        self.body = nn.Sequential(
            ConvNorm(channels, hidden),
            ConvNorm(hidden, hidden, kernel, groups=hidden),
            *([SqueezeExcite(hidden)] if gate else []),
            ConvNorm(hidden, channels, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        return x + self.body(x)


class SPPF(nn.Module):
    """Spatial pyramid pooling, fast form: three chained 5x5 max pools, concatenated (as in YOLOv5 to YOLO11)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = outputs // 2
        self.reduce = ConvNorm(inputs, hidden)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = ConvNorm(hidden * 4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B,inputs,H,W] -> [B,outputs,H,W]."""
        pyramid = [self.reduce(x)]
        for _ in range(3):
            pyramid.append(self.pool(pyramid[-1]))
        return self.merge(torch.cat(pyramid, 1))


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour resize of [B,C,h,w] to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


class PositionBias(nn.Module):
    """Learned embedding of the cell position (x, y in [0,1] and two octaves of sines), added to a feature map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(10, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        height, width = x.shape[-2:]
        grid = cell_centres(height, width, x.device)
        waves = [f(grid * torch.pi * octave) for octave in (2.0, 4.0) for f in (torch.sin, torch.cos)]
        return x + self.project(torch.cat([grid, *waves])[None].to(x.dtype))


def cell_centres(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Centres of the cells of a grid: float32 [2,height,width], (x, y) in (0,1)."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)])
