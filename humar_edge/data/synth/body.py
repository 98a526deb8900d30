"""A posed body: skin, cloth surface and COCO keypoints in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .asset import BODY_VERTICES, Floats, Ints, Surface, load_asset
from .poses import Pose
from .skeleton import Skeleton

SOLE = 0.010
"""Thickness of shoe soles below the cloth surface, metres."""


@dataclass(frozen=True)
class Build:
    """What a body's shape parameters say: `gender` 0 male to 1 female, `age` in [0, 1] (0.33 about ten years)."""

    row: int
    gender: float
    age: float


@dataclass(frozen=True)
class Body:
    """A posed body that stands on z = 0 around the origin, facing -Y.

    Attributes:
        build: its shape parameters.
        pose: its pose.
        skin: float32 [N, 3], vertices of body, eyes, skirt and long hair.
        cloth: float32 [M, 3], the smoothed surface garments are built on.
        keypoints: float32 [17, 3], COCO order.
    """

    build: Build
    pose: Pose
    skin: Floats
    cloth: Floats
    keypoints: Floats


def build_of(row: int) -> Build:
    """Shape parameters of one of the asset's bodies."""
    phenotypes = load_asset().phenotypes
    return Build(row, float(phenotypes["gender"][row]), float(phenotypes["age"][row]))


def cross(a: Floats, b: Floats) -> Floats:
    """Cross products of rows [N, 3], without the overhead of numpy's general one."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals, float32 [N, 3]."""
    corner = vertices[faces]
    normal = cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    index = faces.T.ravel()
    total = [np.bincount(index, np.tile(normal[:, axis], 3), len(vertices)) for axis in range(3)]
    x, y, z = (axis.astype(np.float32) for axis in total)
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-9)
    return np.stack([x / length, y / length, z / length], 1)


def _skinned(surface: Surface, rest: Floats, matrices: Floats) -> Floats:
    """Linear blend skinning: [N, 3] by bone matrices [B, 12] (rotation rows, then translation)."""
    blend = surface.weights @ matrices
    return np.einsum("vij,vj->vi", blend[:, :9].reshape(-1, 3, 3), rest) + blend[:, 9:]


def make_body(build: Build, pose: Pose) -> Body:
    """Shape, pose, skin and put on the ground (3-6 ms)."""
    asset = load_asset()
    shape = asset.coefficients[build.row]
    heads = asset.heads_mean + (shape @ asset.heads_components).reshape(-1, 3)
    rotations, translations = Skeleton(heads).pose(pose)
    matrices = np.concatenate([rotations.reshape(-1, 9), translations], 1).astype(np.float32)
    skin = _skinned(asset.skin, asset.skin.shaped(shape), matrices)
    cloth = _skinned(asset.cloth, asset.cloth.shaped(shape), matrices)
    keypoints = np.einsum("ks,ksd->kd", asset.keypoint_weight, skin[asset.keypoint_index])
    ground = np.array([0, 0, min(skin[:BODY_VERTICES, 2].min(), cloth[:, 2].min() - SOLE)], np.float32)
    return Body(build, pose, skin - ground, cloth - ground, keypoints - ground)
