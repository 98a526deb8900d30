"""Boxes to sit on, to stand beside and to be hidden by."""

from __future__ import annotations

import numpy as np

from .asset import Floats
from .garments import Layer
from .skeleton import rot_z

QUADS = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7))


def box(centre: Floats, size: tuple[float, float, float], yaw: float, rgb: Floats) -> Layer:
    """A box on the ground.

    Args:
        centre: x and y of its middle, metres.
        size: width, depth and height, metres.
        yaw: degrees.
        rgb: sRGB 0..255.
    """
    width, depth, height = size
    sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, depth / 2]
    corners = np.concatenate([np.concatenate([sides, np.full((4, 1), z)], 1) for z in (0.0, height)])
    world = corners @ rot_z(np.radians(yaw)).T + [centre[0], centre[1], 0]
    faces = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])
    paint_rgb = np.asarray(rgb, np.float32)

    def paint(a: Floats) -> Floats:
        edge = np.zeros(len(a), bool)
        for axis, extent in enumerate((width / 2, depth / 2, height / 2)):
            near = np.abs(np.abs(a[:, axis] - (height / 2 if axis == 2 else 0)) - extent) < 0.012
            edge ^= near  # near exactly one or three faces: close to no edge, or to a corner
        return paint_rgb * np.where(edge, 1.0, 0.8)[:, None]

    rest = np.concatenate([corners, np.zeros((8, 2))], 1).astype(np.float32)
    return Layer(world.astype(np.float32), faces, rest, paint, double_sided=True, flat=True)
