"""Triangles to fragments with numpy: every covered pixel centre of every triangle, without a depth test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .asset import Floats, Ints, Mask


class Fragments(NamedTuple):
    """Covered pixels, one row per pixel and triangle.

    Attributes:
        pixel: int64 [n], row * width + column.
        face: int64 [n], index into the faces given.
        weight: float32 [n, 3], perspective-correct barycentric weights.
        nearness: float32 [n], 1 / depth.
    """

    pixel: Ints
    face: Ints
    weight: Floats
    nearness: Floats

    def where(self, keep: Mask) -> Fragments:
        """The fragments selected by a mask or an index."""
        return Fragments(self.pixel[keep], self.face[keep], self.weight[keep], self.nearness[keep])


def _least(corners: Floats) -> Floats:
    """Minimum over the three corners; much faster than a reduction over so short an axis."""
    return np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])


def rasterise(points: Floats, faces: Ints, width: int, height: int, *, double_sided: bool = False) -> Fragments:
    """Fragments of triangles; a pixel belongs to a triangle that contains its centre (edge functions).

    Args:
        points: float [N, 3], x and y in pixels (y down; pixel (0, 0) has its centre at 0.5, 0.5) and 1 / depth.
        faces: int [F, 3], counter-clockwise seen from outside.
        width, height: size of the image in pixels.
        double_sided: keep triangles that face away.
    """
    corner = points[faces].astype(np.float32)
    x, y = corner[..., 0], corner[..., 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    left = np.maximum(np.ceil(_least(x) - 0.5), 0).astype(np.int32)
    right = np.minimum(np.floor(-_least(-x) - 0.5), width - 1).astype(np.int32)
    top = np.maximum(np.ceil(_least(y) - 0.5), 0).astype(np.int32)
    bottom = np.minimum(np.floor(-_least(-y) - 0.5), height - 1).astype(np.int32)
    facing = np.abs(area) > 1e-9 if double_sided else area < -1e-9  # y points down, so the front has negative area
    kept = np.nonzero(facing & (right >= left) & (bottom >= top) & (_least(corner[..., 2]) > 0))[0]

    columns = right[kept] - left[kept] + 1
    boxes = columns * (bottom[kept] - top[kept] + 1)
    owner = np.repeat(np.arange(len(kept)), boxes)
    offset = np.arange(len(owner), dtype=np.int32) - np.repeat(np.cumsum(boxes) - boxes, boxes).astype(np.int32)
    row, column = np.divmod(offset, columns[owner])
    px, py = left[kept][owner] + column, top[kept][owner] + row

    # Barycentric weights 1 and 2 are affine in the pixel's place: w = a * px + b * py + c.
    x, y, scale = x[kept], y[kept], 1 / area[kept]
    a1, b1 = (y[:, 2] - y[:, 0]) * scale, (x[:, 0] - x[:, 2]) * scale
    a2, b2 = (y[:, 0] - y[:, 1]) * scale, (x[:, 1] - x[:, 0]) * scale
    c1 = a1 * (0.5 - x[:, 0]) + b1 * (0.5 - y[:, 0])
    c2 = a2 * (0.5 - x[:, 0]) + b2 * (0.5 - y[:, 0])
    fx, fy = px.astype(np.float32), py.astype(np.float32)
    w1 = a1[owner] * fx + b1[owner] * fy + c1[owner]
    w2 = a2[owner] * fx + b2[owner] * fy + c2[owner]
    w0 = 1 - w1 - w2
    inside = np.nonzero((w0 >= -1e-6) & (w1 >= -1e-6) & (w2 >= -1e-6))[0]
    face = kept[owner[inside]]
    weight = np.stack([w0[inside], w1[inside], w2[inside]], 1) * corner[face, :, 2]
    nearness = weight[:, 0] + weight[:, 1] + weight[:, 2]
    weight /= nearness[:, None]
    return Fragments(py[inside].astype(np.int64) * width + px[inside], face, weight, nearness)


def interpolate(values: Floats, faces: Ints, fragments: Fragments) -> Floats:
    """Per-vertex values [N, C] at the fragments, [n, C]."""
    corner = faces[fragments.face]
    weight = fragments.weight
    out = weight[:, 0:1] * values[corner[:, 0]]
    out += weight[:, 1:2] * values[corner[:, 1]]
    out += weight[:, 2:3] * values[corner[:, 2]]
    return out


def nearest(pixel: Ints, nearness: Floats, size: int) -> tuple[Ints, Floats]:
    """Depth test.

    Returns:
        The indices of the visible fragments, one per covered pixel and in pixel order, and the largest nearness per
        pixel, float32 [size] (0 where nothing is).
    """
    nearness = nearness.astype(np.float32, copy=False)
    buffer = np.zeros(size, np.float32)
    np.maximum.at(buffer, pixel, nearness)
    front = np.nonzero(nearness == buffer[pixel])[0]
    winner = np.full(size, -1, np.int64)
    winner[pixel[front]] = front
    return winner[winner >= 0], buffer
