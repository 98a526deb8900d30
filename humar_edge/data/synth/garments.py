"""Clothes, hair and skin as layers of triangles cut out by rest-pose coordinates.

A garment is the smoothed body, let out along its normals and draped, then cut per fragment: sleeve, hem and neckline
lengths are thresholds on interpolated rest coordinates and do not depend on the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import materials
from .asset import Floats, Ints, Mask, load_asset
from .body import Body, vertex_normals
from .cuts import ankle_height, hair_region, inside_jacket, inside_top, long_hair_region, neck_height
from .outfits import Outfit

Paint = Callable[[Floats], Floats]
Cut = Callable[[Floats], Mask]


@dataclass(frozen=True)
class Layer:
    """A mesh with a way to cut and paint it.

    Attributes:
        vertices: float32 [N, 3].
        faces: int64 [F, 3].
        attributes: float32 [N, C], interpolated and handed to `cut` and `paint`; x, y, z, arm, leg first.
        paint: attributes [n, C] -> sRGB [n, 3] in 0..255.
        cut: attributes [n, C] -> mask of the fragments to keep; None keeps all.
        double_sided: draw triangles from behind as well.
        wrinkle: strength of the folds in the shading, 0 for none.
        flat: shade by face normals.
        part: what a fragment belongs to, for the captions ("top", "bottom", "hair", ...).
    """

    vertices: Floats
    faces: Ints
    attributes: Floats
    paint: Paint
    cut: Cut | None = None
    double_sided: bool = False
    wrinkle: float = 0.0
    flat: bool = False
    part: str = ""


@lru_cache(maxsize=1)
def _neighbours() -> Ints:
    """Neighbours of each cloth vertex, int64 [M, 8], filled up with the vertex itself."""
    faces = load_asset().faces["cloth"]
    around: list[set[int]] = [set() for _ in load_asset().cloth.mean]
    for a, b, c in faces.tolist():
        around[a] |= {b, c}
        around[b] |= {a, c}
        around[c] |= {a, b}
    return np.array([(sorted(near)[:8] + [i] * 8)[:8] for i, near in enumerate(around)], np.int64)


def _draped(vertices: Floats, rounds: int, rows: Mask) -> Floats:
    """Some vertices smoothed by their neighbours, which closes the hollows a tight surface would follow."""
    index = np.nonzero(rows)[0]
    near = np.ascontiguousarray(_neighbours()[index].T)
    vertices = vertices.copy()
    for _ in range(rounds):
        total = vertices[near[0]]
        for column in near[1:]:
            total += vertices[column]
        vertices[index] = 0.5 * vertices[index] + np.float32(0.5 / len(near)) * total
    return vertices


@lru_cache(maxsize=1)
def _face_means() -> dict[str, Floats]:
    """Means over each face of the attributes that whole faces are chosen by."""
    asset = load_asset()
    body, cloth = asset.faces["body"], asset.faces["cloth"]
    return {
        "body": asset.skin.rest[body].mean(1),
        "hand": asset.region["hand"][body].mean(1),
        "foot": asset.region["foot"][body].mean(1),
        "head": asset.region["head"][body].mean(1),
        "cloth": asset.cloth.rest[cloth].mean(1),
    }


def _skin(body: Body, outfit: Outfit) -> Iterator[Layer]:
    asset, mean = load_asset(), _face_means()
    arm, leg = mean["body"][:, 3], mean["body"][:, 4]
    bottom, top = outfit.bottom, outfit.top
    covered = (leg > -0.9) & (leg < (0.05 if bottom.skirted else bottom.length - 0.07))
    low = mean["body"][:, 2] < neck_height() - 0.075
    covered |= (arm < top.sleeve - 0.1) & (leg < top.hem - 0.05) & low & (mean["head"] < 0.3)
    if outfit.jacket:
        covered |= (arm > 0.1) & (arm < outfit.jacket.sleeve - 0.1)
    covered |= (mean["foot"] > 0.3) & (mean["body"][:, 2] < ankle_height())
    covered &= mean["hand"] <= 0.5
    attributes = np.concatenate([asset.skin.rest, asset.region["lip"][:, None]], 1)

    def bare(a: Floats) -> Mask:
        """Skin under cloth is cut away, so that it cannot poke through."""
        a_arm, a_leg = a[:, 3], a[:, 4]
        hidden = inside_top(a, top, margin=0.03) & ((a_arm > -0.45) | (a_leg > -2.5))
        hidden |= (a_leg > -0.3) & (a_leg < (0.05 if bottom.skirted else bottom.length - 0.035)) & (a_arm < 0)
        if outfit.jacket:
            hidden |= (a_arm > 0.1) & (a_arm < outfit.jacket.sleeve - 0.05)
        return ~hidden

    faces = asset.faces["body"][~covered]
    yield Layer(body.skin, faces, attributes, materials.skin(outfit), bare, part="skin")
    yield Layer(body.skin, asset.faces["eye"], attributes, materials.eyes(), part="skin")


def _bottom(body: Body, outfit: Outfit, cloth: Floats, normals: Floats) -> Iterator[Layer]:
    asset, mean = load_asset(), _face_means()["cloth"]
    bottom, leg = outfit.bottom, asset.cloth.rest[:, 4]
    paint = materials.bottom(outfit)
    hips = (mean[:, 4] > -0.5) & (mean[:, 3] < 0.1)
    if bottom.skirted:
        seat = asset.faces["cloth"][hips & (mean[:, 4] < 0.1)]
        yield Layer(cloth + 0.004 * normals, seat, asset.cloth.rest, paint, part="bottom")
        yield Layer(
            body.skin,
            asset.faces["skirt"],
            asset.skin.rest,
            paint,
            lambda a: a[:, 4] < bottom.length,
            double_sided=True,
            wrinkle=1.3,
            part="bottom",
        )
        return
    wide = bottom.loose * (0.7 if bottom.kind == "jeans" else 1.0)
    offset = 0.010 + 0.005 * wide + np.clip(leg, 0, 1) * (0.006 + 0.018 * wide) + 0.012 * wide * np.clip(leg - 1, 0, 1)
    faces = asset.faces["cloth"][hips & (mean[:, 4] < bottom.length + 0.12)]
    yield Layer(
        cloth + offset[:, None] * normals,
        faces,
        asset.cloth.rest,
        paint,
        lambda a: (a[:, 4] > -0.34) & (a[:, 4] < bottom.length),
        double_sided=True,
        wrinkle=0.9,
        part="bottom",
    )


def _upper_faces(sleeve: float, hem: float) -> Ints:
    mean = _face_means()["cloth"]
    arm, leg, high = mean[:, 3], mean[:, 4], mean[:, 2]
    keep = np.where(arm > -0.3, arm < sleeve + 0.15, leg < hem + 0.12) & (high < neck_height() + 0.05)
    return load_asset().faces["cloth"][keep]


def _let_out(cloth: Floats, normals: Floats, loose: float, extra: float = 0.0) -> Floats:
    """The surface of a top: wider at the hem and the sleeves, hanging down a little where it is wide."""
    rest = load_asset().cloth.rest
    arm, leg = rest[:, 3], rest[:, 4]
    sleeve, low = np.clip(arm, 0, 1), np.clip(leg + 0.7, 0, 1)
    offset = 0.013 + 0.010 * loose + 0.005 * np.exp(-(((arm - 0.05) / 0.25) ** 2)) + extra
    offset = offset + (0.012 + 0.018 * loose) * low + (0.004 + 0.014 * loose) * sleeve
    hanging = offset[:, None] * normals
    hanging[:, 2] -= (0.016 * loose + 0.4 * extra) * (sleeve * (1 - np.abs(normals[:, 2])) + 0.5 * low)
    return cloth + hanging


def _top(body: Body, outfit: Outfit, cloth: Floats, normals: Floats) -> Iterator[Layer]:
    top, jacket = outfit.top, outfit.jacket
    rest = load_asset().cloth.rest

    def cut(a: Floats) -> Mask:
        keep = inside_top(a, top)
        return keep & ~inside_jacket(a, jacket, margin=0.04) if jacket else keep

    yield Layer(
        _let_out(cloth, normals, top.loose),
        _upper_faces(top.sleeve, top.hem),
        rest,
        materials.top(outfit),
        cut,
        double_sided=True,
        wrinkle=0.9 + 0.6 * top.loose,
        part="top",
    )
    if jacket:
        yield Layer(
            _let_out(cloth, normals, max(0.4, top.loose), extra=0.014),
            _upper_faces(jacket.sleeve, jacket.hem),
            rest,
            materials.jacket(outfit),
            lambda a: inside_jacket(a, jacket),
            double_sided=True,
            wrinkle=1.0,
            part="jacket",
        )


def _shoes(body: Body, outfit: Outfit) -> Iterator[Layer]:
    """Convex hulls of the feet, let out a little: no toes show."""
    asset = load_asset()
    faces = asset.faces["shoe"]
    hull = body.cloth + 0.012 * vertex_normals(body.cloth, faces)
    yield Layer(hull, faces, asset.cloth.rest, materials.shoes(outfit), part="shoe")


def _hair(body: Body, outfit: Outfit) -> Iterator[Layer]:
    asset, mean = load_asset(), _face_means()
    rest, eye = asset.skin.rest, asset.landmarks["eye.L"]
    if outfit.hair_style == "bald" and not outfit.hat:
        return
    scalp = asset.faces["body"][(mean["head"] > 0.4) & (mean["body"][:, 2] > eye[2] - 0.12)]
    normals = vertex_normals(body.skin, scalp)
    crown = np.clip((rest[:, 2] - eye[2] - 0.03) / 0.08, 0, 1)
    if outfit.hair_style != "bald":
        volume = 0.5 + outfit.hair_length
        offset = np.where(hair_region(rest), 0.006 + 0.013 * volume * crown, -0.004)
        paint = materials.hair(outfit)
        yield Layer(body.skin + offset[:, None] * normals, scalp, rest, paint, hair_region, True, part="hair")
    if outfit.hair_style == "long":
        yield Layer(
            body.skin,
            asset.faces["hair"],
            rest,
            materials.hair(outfit),
            lambda a: long_hair_region(a, outfit.hair_length),
            double_sided=True,
            part="hair",
        )
    if outfit.hat:
        offset = 0.016 + 0.016 * crown
        brim = eye[2] + 0.028
        yield Layer(
            body.skin + offset[:, None] * normals,
            scalp,
            rest,
            materials.hat(outfit),
            lambda a: a[:, 2] > brim - 0.25 * np.clip(a[:, 1] - eye[1] - 0.05, 0, 0.12),
            double_sided=True,
            part="hat",
        )


def layers(body: Body, outfit: Outfit) -> list[Layer]:
    """All layers of a dressed body, in the body's own frame."""
    faces = load_asset().faces["cloth"]
    normals = vertex_normals(body.cloth, faces)
    rest = load_asset().cloth.rest
    upper = (rest[:, 3] > -0.3) | (rest[:, 4] < max(outfit.top.hem, outfit.jacket.hem if outfit.jacket else 0) + 0.2)
    loose = _draped(body.cloth, 3 + round(6 * outfit.top.loose), upper)
    loose_normals = vertex_normals(loose, faces)
    return [
        *_skin(body, outfit),
        *_bottom(body, outfit, body.cloth, normals),
        *_top(body, outfit, loose, loose_normals),
        *_shoes(body, outfit),
        *_hair(body, outfit),
    ]
