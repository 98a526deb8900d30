"""Changes of light and sharpness that leave every named colour what it is."""

from __future__ import annotations

import cv2
import numpy as np


def _factor(rng: np.random.Generator, low: float, high: float, strength: float) -> float:
    return 1 + strength * (float(rng.uniform(low, high)) - 1)


def _expose(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    levels = np.arange(256, dtype=np.float32) / 255
    curve = levels ** _factor(rng, 0.7, 1.4, strength) * _factor(rng, 0.75, 1.2, strength)
    curve = (curve - 0.5) * _factor(rng, 0.8, 1.2, strength) + 0.5 + rng.uniform(-0.05, 0.05)
    return np.asarray(cv2.LUT(image, (np.clip(curve, 0, 1) * 255).astype(np.uint8)))


def _tint(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    gains = 1 + strength * (rng.uniform(0.93, 1.07, 3) - 1)
    return np.clip(image * gains, 0, 255).astype(np.uint8)


def _saturate(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = _factor(rng, 0.75, 1.25, strength)
    return np.asarray(cv2.addWeighted(image, share, grey, 1 - share, 0))


def _blur(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)))


def coarsen(image: np.ndarray, share: float, enlarging: int = cv2.INTER_LINEAR) -> np.ndarray:
    """A uint8 [H,W,3] picture as if its sides had had a share, in (0,1], of their pixels; `enlarging` as in OpenCV."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, int(width * share)), max(1, int(height * share))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=enlarging))


def _coarsen(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return coarsen(image, rng.uniform(0.4, 0.8))


def _noise(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 10)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _compress(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


STEPS = (
    (0.7, _expose),
    (0.5, _tint),
    (0.4, _saturate),
    (0.15, _blur),
    (0.15, _coarsen),
    (0.15, _noise),
    (0.2, _compress),
)
"""Probability and function of each step, in order. No hue shift: "red" must stay red."""


def jitter(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Apply a random choice of the steps to a uint8 [H,W,3] image; any channel order.

    Args:
        image: uint8 [H,W,3].
        rng: Chooses steps and amounts.
        strength: Of exposure, contrast, tint and saturation; 0 leaves them alone.
    """
    for share, step in STEPS:
        if rng.random() < share:
            image = step(image, rng, strength)
    return image
