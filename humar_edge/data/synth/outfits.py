"""What somebody wears and looks like, as plain data that the captions can rely on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import palette
from .asset import Floats
from .body import Build

Rng = np.random.Generator

PATTERNS = {"plain": 6.0, "horizontal stripes": 1.1, "vertical stripes": 0.8, "checks": 1.0, "logo": 0.8}


@dataclass(frozen=True)
class Top:
    """Garment of the upper body.

    Attributes:
        kind: "T-shirt", "shirt" (long sleeves), "sweater" or "tank top".
        colour, rgb: colour word and sRGB 0-255.
        sleeve: where the sleeves end (0 shoulder, 1 elbow, 2 wrist).
        hem: where it ends below (0 hip, 1 knee; negative above the hips).
        loose: 0 tight to 1 wide.
        pattern, pattern_rgb: key of PATTERNS and its second colour.
        neckline: 0 high to 1 deep.
    """

    kind: str
    colour: str
    rgb: Floats
    sleeve: float
    hem: float
    loose: float
    pattern: str
    pattern_rgb: Floats
    neckline: float


@dataclass(frozen=True)
class Bottom:
    """Garment of the lower body: "trousers", "jeans", "shorts", "skirt", or "dress" (one piece with the top)."""

    kind: str
    colour: str
    rgb: Floats
    length: float
    loose: float

    @property
    def skirted(self) -> bool:
        """Whether one tube covers both legs."""
        return self.kind in ("skirt", "dress")


@dataclass(frozen=True)
class Jacket:
    """An open jacket or coat over the top."""

    kind: str
    colour: str
    rgb: Floats
    sleeve: float
    hem: float
    opening: float


@dataclass(frozen=True)
class Outfit:
    """Everything the looks depend on. `hair_style` is "bald", "short" or "long"; `hat` is a beanie's colour or None."""

    top: Top
    bottom: Bottom
    jacket: Jacket | None
    shoe: str
    shoe_rgb: Floats
    skin_rgb: Floats
    hair: str
    hair_rgb: Floats
    hair_style: str
    hair_length: float
    beard: bool
    hat: str | None
    hat_rgb: Floats


SLEEVES: dict[str, tuple[float, float, float]] = {
    "T-shirt": (4.0, 0.36, 0.68),
    "shirt": (3.0, 1.84, 1.95),
    "sweater": (1.5, 1.88, 1.97),
    "tank top": (0.8, 0.02, 0.09),
}
"""Kind of top -> (how often, shortest and longest sleeve)."""

SHOES = {"black": 3.0, "white": 2.5, "brown": 1.5, "grey": 1.0, "red": 0.7, "navy": 0.7}


def _top(rng: Rng) -> Top:
    kind = palette.draw(rng, {name: row[0] for name, row in SLEEVES.items()})
    colour = palette.draw(rng, palette.TOP_WEIGHTS)
    pattern = "plain" if kind == "sweater" else palette.draw(rng, PATTERNS)
    second = palette.draw(
        rng,
        {name: 1.0 for name in palette.CLOTH if not palette.confusable(colour, name)} | {"white": 1.5},
        without=colour,
    )
    return Top(
        kind,
        colour,
        palette.shade(rng, palette.CLOTH[colour]),
        rng.uniform(*SLEEVES[kind][1:]),
        rng.uniform(-0.06, 0.14),
        rng.uniform(0.6, 1.0) if kind == "sweater" else rng.uniform(0.1, 1.0),
        pattern,
        palette.shade(rng, palette.CLOTH[second]),
        rng.uniform(0, 0.4) if kind == "sweater" else rng.uniform(0, 1),
    )


LENGTHS = {
    "trousers": (1.82, 1.98), "jeans": (1.82, 1.98), "shorts": (0.5, 0.95), "skirt": (0.5, 1.35), "dress": (0.6, 1.4),
}  # fmt: skip


def _bottom(rng: Rng, top: Top, feminine: bool) -> Bottom:
    kinds = {"trousers": 4.0, "jeans": 1.5, "shorts": 2.0} | ({"skirt": 2.5, "dress": 1.6} if feminine else {})
    kind = palette.draw(rng, kinds)
    colour = "blue" if kind == "jeans" else palette.draw(rng, palette.BOTTOM_WEIGHTS, without=top.colour)
    rgb = palette.shade(rng, palette.CLOTH[colour])
    if kind == "jeans":
        rgb = palette.shade(rng, (62, 86, 132) if rng.random() < 0.7 else (44, 60, 104))
    if kind == "dress":
        colour, rgb = top.colour, top.rgb
    return Bottom(kind, colour, rgb, rng.uniform(*LENGTHS[kind]), rng.uniform(0, 1))


def _jacket(rng: Rng, top: Top) -> Jacket | None:
    if top.kind == "sweater" or rng.random() > 0.16:
        return None
    choices = {
        name: weight for name, weight in palette.BOTTOM_WEIGHTS.items() if not palette.confusable(top.colour, name)
    }
    colour = palette.draw(rng, choices | ({"red": 1.0} if "red" in choices else {}))
    long = rng.random() < 0.3
    hem = rng.uniform(0.35, 0.8) if long else rng.uniform(-0.02, 0.16)
    rgb = palette.shade(rng, palette.CLOTH[colour])
    return Jacket("coat" if long else "jacket", colour, rgb, rng.uniform(1.86, 1.96), hem, rng.uniform(0.02, 0.06))


def sample_outfit(rng: Rng, build: Build) -> Outfit:
    """A random outfit; skirts, dresses and long hair go to bodies with female shape, beards to adult male ones."""
    feminine = build.gender > 0.5
    top = _top(rng)
    hair = "grey" if build.age > 0.9 else palette.draw(rng, palette.HAIR_WEIGHTS)
    tone = palette.SKIN[int(rng.integers(len(palette.SKIN)))]
    if sum(tone) < 430 and hair in ("blond", "red"):
        hair = "black"
    roll = rng.random()
    style = ("long" if roll < 0.7 else "short") if feminine else ("short" if roll < 0.87 else "bald")
    if build.age < 0.5 and style == "bald":
        style = "short"
    hat = palette.draw(rng, palette.TOP_WEIGHTS) if rng.random() < 0.1 else None
    shoe = palette.draw(rng, SHOES)
    return Outfit(
        top=top,
        bottom=_bottom(rng, top, feminine),
        jacket=_jacket(rng, top),
        shoe=shoe,
        shoe_rgb=palette.shade(rng, palette.CLOTH[shoe]),
        skin_rgb=np.array(tone, np.float32) * np.float32(rng.uniform(0.95, 1.04)),
        hair=hair,
        hair_rgb=palette.shade(rng, palette.HAIR[hair]),
        hair_style=style,
        hair_length=rng.uniform(0, 1),
        beard=build.gender < 0.25 and build.age > 0.55 and rng.random() < 0.3,
        hat=hat,
        hat_rgb=palette.shade(rng, palette.CLOTH[hat or "black"]),
    )
