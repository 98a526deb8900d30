"""Colours of surfaces over rest coordinates: each maker returns a paint, attributes [n, C] -> sRGB [n, 3]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .asset import Floats, load_asset
from .cuts import hair_region, neck_height, sole_height
from .outfits import Outfit, Top

Paint = Callable[[Floats], Floats]


def _filled(a: Floats, rgb: Floats) -> Floats:
    return np.tile(np.asarray(rgb, np.float32), (len(a), 1))


def _along(a: Floats) -> Floats:
    """A coordinate along sleeves and down the trunk, in about metres."""
    return np.where(a[:, 3] > -0.3, 0.3 * a[:, 3], a[:, 2])


def _across(a: Floats) -> Floats:
    return np.where(a[:, 3] > -0.3, a[:, 1], a[:, 0])


def _bands(a: Floats, top: Top) -> Floats:
    return (np.sin(_along(a) * 78) > 0.15)[:, None] * 1.0


def _pinstripes(a: Floats, top: Top) -> Floats:
    return (np.sin(_across(a) * 110) > 0.45)[:, None] * 1.0


def _checks(a: Floats, top: Top) -> Floats:
    rows, columns = np.sin(_along(a) * 66) > 0.3, np.sin(_across(a) * 76) > 0.3
    return (0.28 * rows + 0.24 * columns)[:, None]


def _logo(a: Floats, top: Top) -> Floats:
    radius = np.hypot(a[:, 0], a[:, 2] - neck_height() + 0.22)
    return ((radius < 0.06) & (a[:, 1] < load_asset().landmarks["neck01"][1]))[:, None] * 1.0


PATTERN: dict[str, Callable[[Floats, Top], Floats]] = {
    "horizontal stripes": _bands,
    "vertical stripes": _pinstripes,
    "checks": _checks,
    "logo": _logo,
}
"""Pattern -> share of the second colour, [n, 1] in 0..1."""


def top(outfit: Outfit) -> Paint:
    """Top with its pattern and darker seams."""
    garment = outfit.top

    def paint(a: Floats) -> Floats:
        rgb = _filled(a, garment.rgb)
        if garment.pattern in PATTERN:
            share = PATTERN[garment.pattern](a, garment)
            rgb = rgb * (1 - share) + garment.pattern_rgb * share
        seam = (a[:, 3] > garment.sleeve - 0.05) | (a[:, 4] > garment.hem - 0.03)
        return rgb * np.where(seam, 0.88, 1.0)[:, None]

    return paint


def jacket(outfit: Outfit) -> Paint:
    """Jacket with a darker edge along the opening."""
    garment = outfit.jacket
    assert garment is not None

    def paint(a: Floats) -> Floats:
        edge = (np.abs(a[:, 0]) < garment.opening + 0.02) & (a[:, 1] < -0.02) | (a[:, 4] > garment.hem - 0.04)
        return _filled(a, garment.rgb) * np.where(edge, 0.82, 1.0)[:, None]

    return paint


def bottom(outfit: Outfit) -> Paint:
    """Trousers, shorts or skirt; jeans are washed out at the thighs."""
    garment = outfit.bottom

    def paint(a: Floats) -> Floats:
        leg = a[:, 4]
        rgb = _filled(a, garment.rgb)
        if garment.kind == "jeans":
            rgb = rgb * (1 + 0.22 * np.exp(-(((leg - 0.45) / 0.35) ** 2)))[:, None]
        rgb = rgb * np.where(leg > garment.length - 0.04, 0.84, 1.0)[:, None]
        if garment.kind == "dress":
            return rgb
        return rgb * np.where(leg < -0.26, 0.65, 1.0)[:, None]  # the belt

    return paint


def shoes(outfit: Outfit) -> Paint:
    """Shoes with a light sole, a dark one under brown leather."""
    sole = np.array((50, 36, 28) if outfit.shoe == "brown" else (214, 211, 204), np.float32)
    height = sole_height() + 0.016

    def paint(a: Floats) -> Floats:
        rgb = _filled(a, outfit.shoe_rgb)
        rgb[a[:, 2] < height] = sole
        return rgb

    return paint


def _strands(a: Floats) -> Floats:
    head = load_asset().landmarks["head"]
    angle = np.arctan2(a[:, 0], a[:, 1] - head[1] - 0.03)
    wave = np.sin(angle * 47 + a[:, 2] * 9 + 2 * np.sin(a[:, 2] * 30))
    return (1 + 0.14 * wave + 0.07 * np.sin(angle * 131 + a[:, 2] * 40))[:, None]


def hair(outfit: Outfit) -> Paint:
    """Strands from the crown down."""
    return lambda a: outfit.hair_rgb * _strands(a)


def hat(outfit: Outfit) -> Paint:
    """A ribbed beanie with a turned-up edge."""
    eye = load_asset().landmarks["eye.L"]

    def paint(a: Floats) -> Floats:
        rib = 1 + 0.10 * np.sin(np.arctan2(a[:, 0], a[:, 1] - eye[1] - 0.09) * 40)
        edge = np.where(a[:, 2] < eye[2] + 0.062, 0.86, 1.0)
        return outfit.hat_rgb * (rib * edge)[:, None]

    return paint


def eyes() -> Paint:
    """White, iris and pupil."""
    eye = load_asset().landmarks["eye.L"]

    def paint(a: Floats) -> Floats:
        radius = np.hypot(np.abs(a[:, 0]) - eye[0], a[:, 2] - eye[2])
        rgb = _filled(a, np.array((225, 222, 218)))
        rgb[radius < 0.0065] = (70, 46, 30)
        rgb[radius < 0.003] = (12, 10, 10)
        return rgb

    return paint


def skin(outfit: Outfit) -> Paint:
    """Skin with lips, cheeks, brows, lids, and what grows on it."""
    eye, tone = load_asset().landmarks["eye.L"], outfit.skin_rgb
    lips = tone * np.array((0.80, 0.52, 0.52), np.float32)
    brow = 0.75 * outfit.hair_rgb + 0.25 * tone

    def paint(a: Floats) -> Floats:
        x, y, z, lip = np.abs(a[:, 0]), a[:, 1] - eye[1], a[:, 2] - eye[2], a[:, 5:6]
        face = y < 0.02
        rgb = _filled(a, tone)
        cheek = np.exp(-((x - 0.035) ** 2 + (z + 0.035) ** 2) / 0.0006) * face
        rgb += cheek[:, None] * np.array((9, -6, -6), np.float32)
        if outfit.beard:
            jaw = face_hair(x, y, z)
            rgb = rgb * (1 - 0.8 * jaw) + 0.8 * jaw * outfit.hair_rgb
        rgb = rgb * (1 - 0.55 * lip) + 0.55 * lip * lips
        beside = x - eye[0]
        height = z - 0.0215 + 0.12 * np.abs(beside) * (beside > 0)
        rgb[(np.abs(height) < 0.0042) & (beside > -0.018) & (beside < 0.024) & face] = brow
        rgb[(np.abs(beside) < 0.017) & (np.abs(z) < 0.0095) & face] *= 0.72
        if outfit.hair_style != "bald":
            rgb[hair_region(a) & (z > -0.07)] = outfit.hair_rgb
        return rgb

    return paint


def face_hair(x: Floats, y: Floats, z: Floats) -> Floats:
    """Where a beard grows, [n, 1] in 0..1; coordinates relative to the eyes, x without its sign."""
    low = np.clip((-0.048 - z - 0.25 * np.clip(0.03 - x, 0, 0.03)) / 0.008, 0, 1) * np.clip((z + 0.15) / 0.02, 0, 1)
    return (low * np.clip((0.075 - y) / 0.015, 0, 1))[:, None]
