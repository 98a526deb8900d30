"""The baked bodies: a mean shape with principal components, skinning weights and per-vertex rest attributes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Ints = NDArray[Any]
Mask = NDArray[Any]
"""Arrays of floats, integers and booleans."""

BODY_VERTICES = 13380
"""Vertices of the body proper; those after it belong to eyes, skirt and long hair."""


@dataclass(frozen=True)
class Surface:
    """A deformable set of vertices.

    Attributes:
        mean: float32 [N, 3], metres, Z up, facing -Y, `.L` on +X.
        components: float32 [K, N*3], one row per shape component.
        weights: float32 [N, B], skinning weights per bone.
        rest: float32 [N, 5], columns x, y, z in the canonical rest pose, `arm` (0 shoulder, 1 elbow, 2 wrist; negative
            off the arms) and `leg` (0 hip, 1 knee, 2 ankle; negative above the hips, -1.5 on the arms).
    """

    mean: Floats
    components: Floats
    weights: Floats
    rest: Floats

    def shaped(self, coefficients: Floats) -> Floats:
        """Vertices float32 [N, 3] in the rest pose for shape coefficients [K]."""
        return self.mean + (coefficients @ self.components).reshape(-1, 3)


@dataclass(frozen=True)
class Asset:
    """All of people.npz, unpacked.

    Attributes:
        skin: body, eyes, skirt and hair vertices.
        cloth: a smoothed copy of the body that garments are built on.
        coefficients: float32 [500, K], the shapes people are drawn from.
        phenotypes: name -> float32 [500], e.g. `gender` (0 male, 1 female) and `age`.
        bones, parents: names and index of the parent (-1 for the root) of each bone.
        heads_mean, heads_components: bone heads, [B, 3] and [K, B*3].
        landmarks: bone name -> canonical bone head [3], the frame of `rest` coordinates.
        keypoint_index, keypoint_weight: [17, 64], COCO keypoints as weighted sums of skin vertices.
        faces: name -> int64 [F, 3] (`body`, `skirt`, `hair`, `eye` of the skin; `cloth`, and `shoe`, the
            convex hulls of the feet, of the cloth).
        region: name -> float32 [N], soft membership of skin vertices (`hand`, `foot`, `head`, `lip`).
        cloth_foot: float32 [M], the same for the feet of the cloth.
    """

    skin: Surface
    cloth: Surface
    coefficients: Floats
    phenotypes: dict[str, Floats]
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    heads_mean: Floats
    heads_components: Floats
    landmarks: dict[str, Floats]
    keypoint_index: Ints
    keypoint_weight: Floats
    faces: dict[str, Ints]
    region: dict[str, Floats]
    cloth_foot: Floats


def _dense(index: Ints, weight: Floats, bones: int) -> Floats:
    dense = np.zeros((len(index), bones), np.float32)
    np.add.at(dense, (np.arange(len(index))[:, None], index.astype(np.int64)), weight.astype(np.float32))
    return dense


@lru_cache(maxsize=1)
def load_asset() -> Asset:
    """The shipped asset; read once per process."""
    with resources.files(__package__).joinpath("people.npz").open("rb") as stream, np.load(stream) as archive:
        raw = {name: archive[name] for name in archive.files}

    def real(name: str) -> Floats:
        return np.asarray(raw[name], np.float32)

    def whole(name: str) -> Ints:
        return np.asarray(raw[name], np.int64)

    bones = tuple(str(name) for name in raw["bones"])
    count = len(raw["Bv"])
    skin = Surface(real("Mv"), real("Bv").reshape(count, -1), _dense(raw["i4"], raw["w4"], len(bones)), real("attr"))
    cloth = Surface(
        real("SMv"), real("SBv").reshape(count, -1), _dense(raw["ci4"], raw["cw4"], len(bones)), real("cattr")
    )
    faces = {"body": "f_body", "skirt": "f_skirt", "hair": "f_hair", "eye": "f_eye", "cloth": "cf", "shoe": "f_shoe"}
    return Asset(
        skin=skin,
        cloth=cloth,
        coefficients=real("coef"),
        phenotypes={str(name): real("ph")[:, i] for i, name in enumerate(raw["labels"])},
        bones=bones,
        parents=tuple(int(p) for p in raw["parents"]),
        heads_mean=real("Mh"),
        heads_components=real("Bh").reshape(count, -1),
        landmarks=dict(zip(bones, real("CH"))),
        keypoint_index=whole("kpi"),
        keypoint_weight=real("kpw"),
        faces={name: whole(key) for name, key in faces.items()},
        region={"hand": real("hw"), "foot": real("fw"), "head": real("hd"), "lip": real("lip")},
        cloth_foot=real("cfw"),
    )
