"""Named colours: what they look like, how often they are worn, and which ones a viewer may mix up."""

from __future__ import annotations

import numpy as np

from .asset import Floats

Rng = np.random.Generator

CLOTH: dict[str, tuple[int, int, int]] = {
    "red": (186, 28, 36),
    "blue": (36, 78, 178),
    "green": (40, 124, 62),
    "yellow": (232, 196, 44),
    "white": (236, 234, 230),
    "black": (28, 28, 32),
    "grey": (124, 126, 130),
    "orange": (232, 116, 30),
    "purple": (104, 48, 140),
    "pink": (236, 138, 170),
    "brown": (104, 68, 42),
    "navy": (26, 34, 74),
    "beige": (206, 188, 154),
    "teal": (28, 130, 132),
}
"""Colour word -> sRGB."""

TOP_WEIGHTS = dict.fromkeys(CLOTH, 1.0) | {"white": 1.5, "black": 1.5, "blue": 1.4, "red": 1.4, "green": 1.2}
BOTTOM_WEIGHTS = dict.fromkeys(CLOTH, 0.5) | {
    "blue": 1.6, "black": 2.2, "grey": 1.8, "navy": 2.0, "beige": 2.0, "brown": 1.5, "white": 1.2, "green": 0.7,
}  # fmt: skip

ALIKE: dict[str, frozenset[str]] = {
    "red": frozenset({"orange", "pink", "brown"}),
    "blue": frozenset({"navy", "teal", "purple"}),
    "green": frozenset({"teal"}),
    "yellow": frozenset({"orange", "beige"}),
    "white": frozenset({"grey", "beige"}),
    "black": frozenset({"navy", "grey", "brown"}),
    "grey": frozenset({"white", "black", "beige", "navy"}),
    "orange": frozenset({"red", "yellow", "brown"}),
    "purple": frozenset({"blue", "navy", "pink"}),
    "pink": frozenset({"red", "purple", "beige"}),
    "brown": frozenset({"black", "orange", "red", "beige"}),
    "navy": frozenset({"blue", "black", "grey", "purple"}),
    "beige": frozenset({"white", "yellow", "grey", "pink", "brown"}),
    "teal": frozenset({"green", "blue"}),
}
"""Colours that could be given the same name in another light; symmetric."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "grey": ("grey", "gray"),
    "navy": ("navy", "navy blue", "dark blue"),
    "beige": ("beige", "tan", "cream"),
}

SKIN: tuple[tuple[int, int, int], ...] = (
    (243, 209, 188), (236, 194, 164), (224, 178, 146), (204, 152, 116), (182, 128, 92), (150, 100, 70), (116, 76, 52),
    (84, 55, 40),
)  # fmt: skip

HAIR: dict[str, tuple[int, int, int]] = {
    "black": (26, 22, 20),
    "brown": (78, 50, 30),
    "blond": (198, 160, 100),
    "grey": (156, 154, 152),
    "red": (140, 62, 28),
}
HAIR_WEIGHTS = {"black": 0.32, "brown": 0.32, "blond": 0.2, "grey": 0.06, "red": 0.1}
HAIR_ALIKE: dict[str, frozenset[str]] = {
    "black": frozenset({"brown"}),
    "brown": frozenset({"black", "red"}),
    "blond": frozenset({"grey"}),
    "grey": frozenset({"blond"}),
    "red": frozenset({"brown"}),
}


def confusable(a: str, b: str, alike: dict[str, frozenset[str]] = ALIKE) -> bool:
    """Whether something of colour b might be called a."""
    return a == b or b in alike[a]


def draw(rng: Rng, weights: dict[str, float], *, without: str | None = None) -> str:
    """A random key by weight."""
    keys = [key for key in weights if key != without]
    p = np.array([weights[key] for key in keys])
    return keys[int(rng.choice(len(keys), p=p / p.sum()))]


def shade(rng: Rng, rgb: tuple[int, int, int]) -> Floats:
    """A slightly different shade, float [3] in 4..245."""
    return np.clip(np.array(rgb, np.float32) * rng.uniform(0.82, 1.12) + rng.normal(0, 4, 3), 4, 245).astype(np.float32)
