"""A pinhole camera that looks along +Y, pitched down, above the ground plane z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .asset import Floats


@dataclass(frozen=True)
class Camera:
    """Camera at (0, 0, height).

    Attributes:
        width, height_px: picture size, pixels.
        focal: focal length, pixels.
        height: above the ground, metres.
        pitch: downward tilt, radians.
    """

    width: int
    height_px: int
    focal: float
    height: float
    pitch: float

    def project(self, points: Floats) -> Floats:
        """World points [N, 3] to float32 [N, 3]: x, y in pixels, 1 / depth (negative behind the camera)."""
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        up = points[:, 2] - self.height
        depth = points[:, 1] * c - up * s
        depth = np.where(np.abs(depth) < 0.05, 0.05, depth)
        x = self.focal * points[:, 0] / depth + self.width / 2
        y = self.height_px / 2 - self.focal * (points[:, 1] * s + up * c) / depth
        return np.stack([x, y, 1 / depth], 1).astype(np.float32)

    def rays(self) -> Floats:
        """Direction of each pixel's ray, float32 [height_px, width, 3], with unit depth."""
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        y = (self.height_px / 2 - np.arange(self.height_px) - 0.5) / self.focal
        xx, yy = np.meshgrid(x, y)
        return np.stack([xx, c + yy * s, -s + yy * c], -1).astype(np.float32)

    def ground(self) -> tuple[Floats, np.ndarray]:
        """Where each pixel's ray meets the ground: points [H, W, 3] and a mask of the rays that do within 60 m."""
        rays = self.rays()
        down = np.where(rays[..., 2] < -1e-3, -rays[..., 2], 1.0)
        reach = self.height / down
        hit = (rays[..., 2] < -1e-3) & (reach < 60)
        points = rays * np.where(hit, reach, 0)[..., None] + np.array([0, 0, self.height], np.float32)
        return points.astype(np.float32), hit

    def ground_point(self, x: float, distance: float) -> Floats:
        """The ground point at a given distance that appears in column x (at its feet)."""
        depth = distance * np.cos(self.pitch) + self.height * np.sin(self.pitch)
        return np.array([(x - self.width / 2) * depth / self.focal, distance, 0.0], np.float32)

    def scaled(self, factor: int) -> Camera:
        """The same view with more pixels."""
        return Camera(self.width * factor, self.height_px * factor, self.focal * factor, self.height, self.pitch)
