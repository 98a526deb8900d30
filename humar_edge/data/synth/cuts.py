"""Regions of the rest pose that bound garments and hair. Arguments `a` are attributes [n, >=5]: x, y, z, arm, leg."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .asset import Floats, Mask, load_asset
from .outfits import Jacket, Top


@lru_cache(maxsize=1)
def neck_height() -> float:
    """Height of the base of the neck in rest coordinates, metres."""
    return float(load_asset().landmarks["neck01"][2])


@lru_cache(maxsize=1)
def ankle_height() -> float:
    """Height of the ankle in rest coordinates, metres."""
    return float(load_asset().landmarks["foot.L"][2])


@lru_cache(maxsize=1)
def sole_height() -> float:
    """Height of the lowest point of the feet in rest coordinates, metres."""
    asset = load_asset()
    return float(asset.cloth.rest[asset.cloth_foot > 0.5, 2].min())


def collar(a: Floats, neckline: float) -> Floats:
    """Height of the neckline around the neck: lower in front, V-shaped when deep."""
    x, y = a[:, 0], a[:, 1]
    front = np.clip((load_asset().landmarks["neck01"][1] - y) / 0.08, -0.3, 1)
    line = neck_height() - 0.012 - 0.045 * front * (1 + neckline) + 0.10 * np.abs(x) * (front > 0)
    return np.maximum(line, neck_height() - 0.16)


def inside_top(a: Floats, top: Top, margin: float = 0.0) -> Mask:
    """What a top covers, drawn in by a margin at its edges."""
    sleeve, hem = top.sleeve - 1.6 * margin, top.hem - margin
    inside = (a[:, 3] < sleeve) & (a[:, 4] < hem) & (a[:, 2] < collar(a, top.neckline) - 0.4 * margin)
    if top.kind == "tank top":  # straps: bare shoulders
        inside &= (np.abs(a[:, 0]) < 0.135) | (a[:, 2] < neck_height() - 0.13)
    return inside


def inside_jacket(a: Floats, jacket: Jacket, margin: float = 0.0) -> Mask:
    """What an open jacket covers."""
    x, y, z, arm, leg = a[:, :5].T
    inside = (arm < jacket.sleeve - margin) & (leg < jacket.hem - margin)
    inside &= z < neck_height() + 0.012 - 0.4 * margin + 0.04 * np.clip(y, -0.05, 0.05)
    gap = jacket.opening + margin + 0.10 * np.clip(neck_height() - 0.1 - z, 0, 0.3)
    return inside & ((np.abs(x) > gap) | (y > load_asset().landmarks["neck01"][1]) | (arm > -0.3))


def hair_region(a: Floats) -> Mask:
    """The scalp: above a line from the forehead over the temples behind the ears to the nape."""
    eye = load_asset().landmarks["eye.L"]
    x, y, z = np.abs(a[:, 0]), a[:, 1] - eye[1], a[:, 2] - eye[2]
    front = 0.062 - 1.6 * np.maximum(x - 0.035, 0)
    side = np.where(y < 0.1, -0.02 - (y - 0.075), -0.07)
    line = np.where(y < 0.035, front, np.where(y < 0.075, front - (y - 0.035) * 2.2, side))
    return z > line


def long_hair_region(a: Floats, length: float) -> Mask:
    """Long hair at the sides and the back, clear of the face; length 0 to 1 reaches from the chin to the back."""
    asset = load_asset()
    eye, neck = asset.landmarks["eye.L"], asset.landmarks["neck01"]
    x, y, z = np.abs(a[:, 0]), a[:, 1], a[:, 2]
    before_chest = (y < neck[1] - 0.015) & (z < eye[2] - 0.09)
    before_face = (x < 0.062 + 0.10 * np.clip(eye[2] - 0.02 - z, 0, 0.25)) & (y < eye[1] + 0.085)
    return ~before_chest & ~before_face & (z < eye[2] + 0.04) & (z > neck[2] - 0.02 - 0.22 * length)
