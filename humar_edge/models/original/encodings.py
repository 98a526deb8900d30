"""Sine encodings of positions: cells of a map, words of a prompt, points of a pose."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRID_TEMPERATURE = 20.0
TEMPERATURE = 10000.0
_EPS = 1e-6


def sine(values: Tensor, width: int, temperature: float) -> Tensor:
    """Interleaved sines and cosines of a scalar field.

    Channel k is sin(u·t) for even k and cos(u·t) for odd k, t = temperature^(−2⌊k/2⌋/width).

    Args:
        values: float [...], angles u in radians.
        width: number of channels, even.
        temperature: ratio of the longest to the shortest wavelength.

    Returns:
        float [..., width].
    """
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=values.device) / width
    angles = values[..., None] * torch.pow(torch.tensor(1.0 / temperature, device=values.device), exponents)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


def encode_grid(padding: Tensor, width: int) -> Tensor:
    """Position of each cell of a map by counting the valid cells up to it, per column and per row.

    Args:
        padding: bool [B,h,w], True = padding.
        width: channels, half of them for y (first), half for x.

    Returns:
        float [B,h,w,width].
    """
    valid = (~padding).float()
    rows, columns = valid.cumsum(1), valid.cumsum(2)
    y = rows / (rows[:, -1:, :] + _EPS) * (2 * math.pi)
    x = columns / (columns[:, :, -1:] + _EPS) * (2 * math.pi)
    return torch.cat((sine(y, width // 2, GRID_TEMPERATURE), sine(x, width // 2, GRID_TEMPERATURE)), -1)


def encode_words(padding: Tensor, width: int) -> Tensor:
    """Position of each word among the valid words.

    Args:
        padding: bool [B,T], True = padding.
        width: channels.

    Returns:
        float [B,T,width].
    """
    valid = (~padding).float()
    words = int(valid.shape[1])
    # A product with a triangle of ones: running counts without CumSum, which inference engines support poorly.
    count = valid @ torch.ones(words, words, device=valid.device).triu()
    return sine(count / (count[:, -1:] + _EPS) * (2 * math.pi), width, TEMPERATURE)


def encode_points(points: Tensor, width: int) -> Tensor:
    """Encoding of points (x, y) in [0, 1].

    Args:
        points: float [...,2].
        width: channels, half of them for y (first), half for x.

    Returns:
        float [...,width].
    """
    codes = sine(points * (2 * math.pi), width // 2, TEMPERATURE)
    return torch.cat((codes[..., 1, :], codes[..., 0, :]), -1)


def inverse_sigmoid(probability: Tensor, eps: float = 1e-3) -> Tensor:
    """ln(p / (1−p)) of p clamped to [0, 1], numerator and denominator bounded below by `eps`.

    Trained weights depend on the large `eps`.
    """
    probability = probability.clamp(0.0, 1.0)
    return (probability.clamp(min=eps) / (1.0 - probability).clamp(min=eps)).log()
