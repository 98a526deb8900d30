"""Sky light, sun and shadow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .asset import Floats, Ints
from .rasteriser import interpolate, nearest, rasterise

Rng = np.random.Generator


@dataclass(frozen=True)
class Light:
    """Light of a scene.

    Attributes:
        sun: unit vector towards the sun.
        sun_rgb, sky_rgb, ground_rgb: linear strengths of the direct light and of the light from above and below.
    """

    sun: Floats
    sun_rgb: Floats
    sky_rgb: Floats
    ground_rgb: Floats

    def shade(self, albedo: Floats, normals: Floats, lit: Floats, open_: Floats) -> Floats:
        """Linear colour of surfaces [n, 3].

        Args:
            albedo: sRGB 0..255, [n, 3].
            normals: unit [n, 3].
            lit: share of direct light that arrives, [n].
            open_: ambient visibility, [n].
        """
        linear = np.clip(albedo / 255, 0, 1) ** np.float32(2.2)
        up = (0.5 + 0.5 * normals[:, 2:3]) ** 1.2
        ambient = (self.sky_rgb * up + self.ground_rgb * (1 - up)) * open_[:, None]
        direct = np.clip(normals @ self.sun, 0, 1) * lit
        return linear * (ambient + self.sun_rgb * direct[:, None])


def sample_light(rng: Rng) -> Light:
    """Noon to evening sun, or an overcast sky with hardly any."""
    u = rng.uniform
    sun = np.array([u(-0.9, 0.9), u(-1.0, 0.0), u(0.6, 1.3)])
    overcast = rng.random() < 0.3
    strength = u(0.15, 0.4) if overcast else u(0.6, 1.0)
    warm = u(0, 1)
    sun_rgb = strength * np.array([1.04, 1.0 - 0.04 * warm, 0.97 - 0.13 * warm])
    sky = (u(0.75, 0.95) if overcast else u(0.4, 0.65)) * np.array([0.97, 1.0, 1.05])
    ground = sky * u(0.35, 0.6) * np.array([1.03, 1.0, 0.94])
    unit = sun / np.linalg.norm(sun)
    return Light(*(value.astype(np.float32) for value in (unit, sun_rgb, sky, ground)))


class ShadowMap:
    """Orthographic depth map seen from the sun.

    Args:
        meshes: pairs of vertices [N, 3] and faces [F, 3]; none gives no shadow at all.
        sun: unit vector towards the sun.
        size: side of the map, pixels.
    """

    def __init__(self, meshes: Sequence[tuple[Floats, Ints]], sun: Floats, size: int = 320) -> None:
        right = np.cross(sun, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(right, sun), sun], 1).astype(np.float32)
        self.size = size
        self.map = np.full((size, size), -1e9, np.float32)
        seen = [vertices @ self.axes for vertices, _ in meshes]
        if not seen:
            self.origin, self.scale = np.zeros(2, np.float32), 1.0
            return
        corners = np.concatenate(seen)[:, :2]
        self.origin = corners.min(0)
        self.scale = float((size - 2) / np.ptp(corners, axis=0).max())
        floor = min(float(points[:, 2].min()) for points in seen) - 1.0
        buffer = np.zeros(size * size, np.float32)
        for points, (_, faces) in zip(seen, meshes):
            flat = np.concatenate([(points[:, :2] - self.origin) * self.scale, np.ones((len(points), 1))], 1)
            fragments = rasterise(flat.astype(np.float32), faces, size, size, double_sided=True)
            height = interpolate(points[:, 2:3] - floor, faces, fragments)[:, 0]
            np.maximum(buffer, nearest(fragments.pixel, height, size * size)[1], out=buffer)
        self.map = np.where(buffer > 0, buffer + floor, -1e9).reshape(size, size).astype(np.float32)

    def shadow(self, points: Floats, bias: float = 0.03) -> Floats:
        """Share of shadow at world points [n, 3], 0..1; the mean of five neighbouring look-ups."""
        place = points @ self.axes
        column = ((place[:, 0] - self.origin[0]) * self.scale).astype(np.int32)
        row = ((place[:, 1] - self.origin[1]) * self.scale).astype(np.int32)
        inside = (column >= 1) & (row >= 1) & (column < self.size - 1) & (row < self.size - 1)
        column, row, height = column[inside], row[inside], place[inside, 2] + bias
        total = np.zeros(len(column), np.float32)
        for down, across in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            total += self.map[row + down, column + across] > height
        out = np.zeros(len(points), np.float32)
        out[inside] = total / 5
        return out


def crevices(nearness: Floats, radius: int) -> Floats:
    """Ambient visibility 0..1 per pixel from the depth buffer: surfaces behind their surroundings get less light.

    Args:
        nearness: 1 / depth, float32 [H, W], 0 where nothing is.
        radius: of the surroundings, pixels.
    """
    solid = (nearness > 0).astype(np.float32)
    depth = np.where(nearness > 0, 1 / np.maximum(nearness, 1e-6), 0).astype(np.float32)
    size = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(depth, size) / np.maximum(cv2.blur(solid, size), 1e-3)
    return 1 - np.clip((depth - mean) * 4.5, 0, 0.45) * solid
