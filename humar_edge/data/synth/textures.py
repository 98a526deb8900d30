"""Procedural noise and tilings, as numpy arrays."""

from __future__ import annotations

import cv2
import numpy as np

from .asset import Floats

Rng = np.random.Generator


def fractal(rng: Rng, height: int, width: int, cell: int, octaves: int = 4) -> Floats:
    """Value noise with halving cells, float32 [height, width] in about -1..1.

    Args:
        rng: random generator.
        height, width: size, pixels.
        cell: largest cell, pixels.
        octaves: number of layers, each at half the size and half the strength of the one before.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(1, cell >> octave)
        grid = rng.uniform(-1, 1, (height // step + 3, width // step + 3)).astype(np.float32)
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += fine[:height, :width] * np.float32(0.5**octave)
    return total / np.float32(1.6)


def tileable(rng: Rng, size: int = 256, cell: int = 64, octaves: int = 5) -> Floats:
    """Noise that repeats without a seam, float32 [size, size] in about -1..1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = max(1, size // max(1, cell >> octave))
        grid = np.pad(rng.uniform(-1, 1, (count, count)).astype(np.float32), 2, mode="wrap")
        step = size // count
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        total += fine[2 * step : 2 * step + size, 2 * step : 2 * step + size] * np.float32(0.6**octave)
    return total / np.float32(1.6)


def look_up(texture: Floats, u: Floats, v: Floats, per_metre: float = 128.0) -> Floats:
    """Texture values at coordinates in metres, repeating."""
    height, width = texture.shape
    column = np.mod((u * per_metre).astype(np.int64), width)
    row = np.mod((v * per_metre).astype(np.int64), height)
    return texture[row, column]


def joints(u: Floats, v: Floats, width: float, height: float, gap: float, shift: float = 0.0) -> np.ndarray:
    """Mask of the gaps between tiles or bricks; every other row is shifted by a share of the width."""
    row = np.floor(v / height)
    along = np.mod(u / width + shift * np.mod(row, 2), 1.0)
    return (along * width < gap) | (np.mod(v, height) < gap)


def tile_values(u: Floats, v: Floats, width: float, height: float, shift: float = 0.0) -> Floats:
    """A pseudo-random value in 0..1 for the tile each point lies on."""
    row = np.floor(v / height)
    column = np.floor(u / width + shift * np.mod(row, 2))
    return np.mod(np.abs(np.sin(row * 12.9898 + column * 78.233) * 43758.5453), 1.0)
