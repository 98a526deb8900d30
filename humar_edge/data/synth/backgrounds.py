"""Backgrounds in linear light: rooms, streets, parks, studio gradients, clutter, or photos from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from humar_edge.errors import DataError

from .asset import Floats
from .camera import Camera
from .textures import fractal, joints, look_up, tile_values, tileable

Rng = np.random.Generator

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def _muted(rng: Rng, low: float, high: float, spread: float = 0.06) -> Floats:
    return np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 0.03, 0.97).astype(np.float32)


def _turned(rng: Rng, points: Floats) -> tuple[Floats, Floats]:
    angle = rng.uniform(0, np.pi / 2)
    c, s = np.cos(angle), np.sin(angle)
    return points[..., 0] * c + points[..., 1] * s, points[..., 1] * c - points[..., 0] * s


def _tiles(rng: Rng, points: Floats) -> Floats:
    u, v = _turned(rng, points)
    size = rng.uniform(0.3, 0.9)
    value = 0.85 + 0.25 * (tile_values(u, v, size, size) - 0.5) + 0.05 * look_up(tileable(rng), u, v)
    return _muted(rng, 0.3, 0.8) * np.where(joints(u, v, size, size, 0.015), 0.7 * value, value)[..., None]


def _planks(rng: Rng, points: Floats) -> Floats:
    u, v = _turned(rng, points)
    grain = look_up(tileable(rng, cell=32), u * 0.25, v * 3)
    value = 0.85 + 0.3 * (tile_values(u, v, 1.4, 0.14, 0.37) - 0.5) + 0.12 * grain
    wood = np.array([0.56, 0.40, 0.26], np.float32) * rng.uniform(0.6, 1.2)
    return wood * np.where(joints(u, v, 1.4, 0.14, 0.006, 0.37), 0.7 * value, value)[..., None]


def _rough(rng: Rng, points: Floats, base: Floats, strength: float) -> Floats:
    u, v = _turned(rng, points)
    fine, coarse = look_up(tileable(rng, cell=16), u, v), look_up(tileable(rng, cell=128), u, v, 24)
    return base * (1 + strength * fine + 0.5 * strength * coarse)[..., None]


def _carpet(rng: Rng, points: Floats) -> Floats:
    return _rough(rng, points, _muted(rng, 0.25, 0.75, 0.05), 0.12)


def _asphalt(rng: Rng, points: Floats) -> Floats:
    return _rough(rng, points, _muted(rng, 0.3, 0.6, 0.02), 0.2)


def _grass(rng: Rng, points: Floats) -> Floats:
    return _rough(rng, points, np.array([0.36, 0.46, 0.2], np.float32) * rng.uniform(0.7, 1.2), 0.4)


def _paving(rng: Rng, points: Floats) -> Floats:
    u, v = _turned(rng, points)
    value = 0.9 + 0.2 * (tile_values(u, v, 0.4, 0.2, 0.5) - 0.5) + 0.1 * look_up(tileable(rng, cell=16), u, v)
    return _muted(rng, 0.4, 0.75, 0.03) * np.where(joints(u, v, 0.4, 0.2, 0.012, 0.5), 0.75 * value, value)[..., None]


INDOOR_FLOORS = (_tiles, _planks, _planks, _carpet)
OUTDOOR_FLOORS = (_asphalt, _paving, _grass)


def _choice(rng: Rng, items: tuple[Callable[[Rng, Floats], Floats], ...]) -> Callable[[Rng, Floats], Floats]:
    return items[int(rng.integers(len(items)))]


def _wall(rng: Rng, x: Floats, z: Floats) -> Floats:
    """A wall over coordinates in metres: paint, brick, panels or wallpaper, with pictures, windows and doors."""
    base = _muted(rng, 0.4, 0.92, 0.07)
    value = 1 + 0.05 * look_up(tileable(rng, cell=128), x, z, 40)
    kind = rng.integers(5)
    wall = base * value[..., None]
    if kind == 1:
        bricks = 0.75 + 0.35 * tile_values(x, z, 0.25, 0.08, 0.5) + 0.1 * look_up(tileable(rng, cell=16), x, z)
        wall = base * np.where(joints(x, z, 0.25, 0.08, 0.012, 0.5), 1.15, bricks)[..., None]
    elif kind == 2:
        wall = wall * np.where(joints(x, z, rng.uniform(0.8, 1.8), rng.uniform(0.8, 1.4), 0.02), 0.78, 1)[..., None]
    elif kind == 3:
        wall = np.where((z < 1.0)[..., None], _muted(rng, 0.25, 0.7, 0.1) * value[..., None], wall)
    elif kind == 4:
        wall = wall * (1 + 0.08 * np.sign(np.sin(x * rng.uniform(12, 30))))[..., None]
    for _ in range(int(rng.integers(0, 4))):
        wall = _fixture(rng, wall, x, z)
    return np.where((z < 0.09)[..., None], 0.7 * base, wall)


def _fixture(rng: Rng, wall: Floats, x: Floats, z: Floats) -> Floats:
    """A framed picture, a window or a door somewhere on the wall."""
    kind = rng.integers(3)
    left, width = rng.uniform(-3.5, 2.5), rng.uniform(0.5, 1.6)
    low, high = (0.0, 2.05) if kind == 2 else (rng.uniform(0.9, 1.5), rng.uniform(1.7, 2.5))
    frame = (x > left - 0.06) & (x < left + width + 0.06) & (z > low - 0.06) & (z < high + 0.06)
    pane = (x > left) & (x < left + width) & (z > low) & (z < high)
    wall = np.where(frame[..., None], _muted(rng, 0.1, 0.95), wall)
    if kind == 0:
        paint = _muted(rng, 0.2, 0.8, 0.1) + rng.uniform(-0.35, 0.35, (5, 6, 3)).astype(np.float32)
        picture = cv2.resize(paint, (96, 96), interpolation=cv2.INTER_CUBIC)
        column = np.clip((x - left) / width * 95, 0, 95).astype(np.int64)
        row = np.clip((high - z) / (high - low) * 95, 0, 95).astype(np.int64)
        return np.where(pane[..., None], np.clip(picture[row, column], 0.02, 0.98), wall)
    inner = _muted(rng, 0.2, 0.8) if kind == 2 else np.array([0.72, 0.83, 0.95], np.float32) * rng.uniform(0.5, 1.0)
    return np.where(pane[..., None], inner * (0.85 + 0.1 * z)[..., None], wall)


def _plane(camera: Camera, distance: float) -> tuple[Floats, Floats]:
    """Coordinates (x, height) in metres of each ray on an upright plane at a distance."""
    rays = camera.rays()
    reach = distance / np.maximum(rays[..., 1], 0.1)
    return rays[..., 0] * reach, rays[..., 2] * reach + camera.height


def _room(rng: Rng, camera: Camera, far: float) -> Floats:
    points, hit = camera.ground()
    distance = far + rng.uniform(0.6, 3.0)
    floor = _choice(rng, INDOOR_FLOORS)(rng, points)
    x, z = _plane(camera, distance)
    ceiling = z > rng.uniform(2.5, 3.4)
    wall = np.where(ceiling[..., None], _muted(rng, 0.75, 0.95, 0.02), _wall(rng, x, z))
    near = hit & (points[..., 1] < distance)
    return np.where(near[..., None], floor, wall)


def _sky(rng: Rng, camera: Camera) -> Floats:
    height, width = camera.height_px, camera.width
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top = np.array([0.42, 0.60, 0.86], np.float32) if rng.random() < 0.7 else _muted(rng, 0.6, 0.85, 0.02)
    sky = top * (1 - share) + np.array([0.86, 0.90, 0.94], np.float32) * share
    clouds = np.clip(fractal(rng, height, width, max(16, width // 2)) * 1.6 - 0.1, 0, 1)[..., None]
    return sky * (1 - 0.7 * clouds) + 0.93 * 0.7 * clouds


def _street(rng: Rng, camera: Camera, far: float) -> Floats:
    points, hit = camera.ground()
    distance = far + rng.uniform(3, 9)
    floor = _choice(rng, OUTDOOR_FLOORS[:2])(rng, points)
    x, z = _plane(camera, distance)
    house = np.floor(x / rng.uniform(4, 9) + rng.uniform())
    tone = np.stack([np.mod(np.abs(np.sin(house * 7.1 + k) * 997), 1) for k in range(3)], -1)
    front = (0.35 + 0.45 * tone[..., :1] + 0.10 * (tone - 0.5)) * (1 + 0.08 * look_up(tileable(rng), x, z, 60))[
        ..., None
    ]
    pitch, storey = rng.uniform(1.2, 2.2), rng.uniform(2.6, 3.4)
    u, v = np.mod(x, pitch) / pitch, np.mod(z, storey) / storey
    window = (u > 0.28) & (u < 0.75) & (v > 0.3) & (v < 0.78)
    glass = (0.18 + 0.35 * tile_values(x, z, pitch, storey))[..., None] * np.array([0.8, 0.95, 1.1], np.float32)
    front = np.where(window[..., None], glass, front)
    roof = 6 + 5 * np.mod(np.abs(np.sin(house * 3.3) * 331), 1)
    scene = np.where((z < roof)[..., None], front, _sky(rng, camera))
    near = hit & (points[..., 1] < distance)
    return np.where(near[..., None], floor, scene)


def _park(rng: Rng, camera: Camera, far: float) -> Floats:
    points, hit = camera.ground()
    rays = camera.rays()
    floor = _choice(rng, OUTDOOR_FLOORS)(rng, points)
    rise = rays[..., 2] / np.maximum(rays[..., 1], 0.1)
    ripple = fractal(rng, 8, camera.width, max(8, camera.width // 4), 5)[0]
    leaves = fractal(rng, camera.height_px, camera.width, max(8, camera.width // 10), 5)
    trees = rise < 0.08 + rng.uniform(0, 0.15) + 0.09 * ripple[None] + 0.01 * leaves
    green = np.array([0.26, 0.36, 0.2], np.float32) * rng.uniform(0.6, 1.3)
    scene = np.where(trees[..., None], green * (1 + 0.6 * leaves)[..., None], _sky(rng, camera))
    haze = np.clip(points[..., 1:2] / 40, 0, 0.5)
    return np.where(hit[..., None], floor * (1 - haze) + np.array([0.7, 0.74, 0.76], np.float32) * haze, scene)


def _studio(rng: Rng, camera: Camera, far: float) -> Floats:
    share = np.linspace(0, 1, camera.height_px, dtype=np.float32)[:, None, None]
    ramp = _muted(rng, 0.3, 0.95, 0.12) * (1 - share) + _muted(rng, 0.2, 0.85, 0.12) * share
    return np.broadcast_to(ramp, (camera.height_px, camera.width, 3))


def _clutter(rng: Rng, camera: Camera, far: float) -> Floats:
    """Blurred shapes: what an unsharp photo of many things looks like."""
    height, width = camera.height_px, camera.width
    canvas: Floats = np.tile(_muted(rng, 0.2, 0.8, 0.1), (height, width, 1)).astype(np.float32)
    for _ in range(int(rng.integers(12, 40))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(3, max(4, width // 4))), int(rng.integers(3, max(4, height // 4))))
        shade = tuple(float(value) for value in np.clip(rng.uniform(0.1, 0.9) + rng.normal(0, 0.15, 3), 0, 1))
        if rng.random() < 0.5:
            cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, shade, -1)
        else:
            cv2.rectangle(canvas, centre, (centre[0] + axes[0], centre[1] + axes[1]), shade, -1)
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.6, max(0.8, width / 60)))
    return canvas * (1 + 0.15 * fractal(rng, height, width, max(8, width // 6)))[..., None]


KINDS: dict[str, tuple[float, Callable[[Rng, Camera, float], Floats]]] = {
    "room": (3.0, _room),
    "street": (2.0, _street),
    "park": (1.5, _park),
    "studio": (0.8, _studio),
    "clutter": (1.5, _clutter),
}
"""Kind of background -> (how often, maker)."""


def photos_in(folder: Path) -> list[Path]:
    """Readable-looking pictures of a folder, sorted.

    Raises:
        DataError: if there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise DataError(f"no pictures in {folder}; give --backgrounds a folder with .jpg or .png files")
    return found


def read_picture(path: Path) -> np.ndarray:
    """BGR uint8 picture, also from paths OpenCV cannot open itself.

    Raises:
        DataError: if the file is not a picture.
    """
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if picture is None:
        raise DataError(f"{path} is not a picture OpenCV can read; remove it from the background folder")
    return picture


def photo(rng: Rng, camera: Camera, path: Path) -> Floats:
    """A random crop of a photo, sometimes mirrored or out of focus, linear float32 [H, W, 3]."""
    picture = read_picture(path)
    height, width = camera.height_px, camera.width
    scale = max(width / picture.shape[1], height / picture.shape[0]) * rng.uniform(1, 1.4)
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (int(rng.integers(size[1] - height + 1)), int(rng.integers(size[0] - width + 1)))
    crop: Floats = picture[top : top + height, left : left + width, ::-1].astype(np.float32) / 255
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.4:
        crop = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), rng.uniform(0.5, max(0.7, width / 200)))
    return np.ascontiguousarray(crop) ** np.float32(2.2)


def procedural(rng: Rng, camera: Camera, far: float, kind: str | None = None) -> Floats:
    """A made-up background, linear float32 [H, W, 3].

    Args:
        rng: random generator.
        camera: the view.
        far: distance of the furthest person; walls stand behind it.
        kind: key of KINDS, None for a random one.
    """
    if kind is None:
        weights = np.array([weight for weight, _ in KINDS.values()])
        kind = str(rng.choice(list(KINDS), p=weights / weights.sum()))
    picture: Floats = np.clip(KINDS[kind][1](rng, camera, far), 0.01, 1).astype(np.float32)
    if rng.random() < 0.5:  # a shallow depth of field
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, max(0.6, camera.width / 220)))
    return picture ** np.float32(2.2)
