"""Who stands where, seen by which camera, before what: one picture with everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from . import backgrounds
from .asset import Floats, load_asset
from .body import Body, build_of, make_body
from .camera import Camera
from .garments import Layer
from .lighting import Light, sample_light
from .outfits import Outfit, sample_outfit
from .poses import sample_pose
from .props import box
from .render import Actor, Rendered, pooled, render

Rng = np.random.Generator

MIN_VISIBLE_PIXELS = 0.0018
"""Smallest visible share of the picture a described person may have."""


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like.

    Attributes:
        size: longer side of the picture, pixels.
        aspect: "square" or "random" (width to height between 0.66 and 1.6).
        people: least and largest number of people.
        photos: pictures for backgrounds; empty for procedural ones.
        supersampling: subpixels per pixel in each direction.
    """

    size: int = 384
    aspect: str = "square"
    people: tuple[int, int] = (1, 5)
    photos: tuple[Path, ...] = ()
    supersampling: int = 2


@dataclass
class Figure:
    """One person of a scene, as seen.

    Attributes:
        body, outfit: what was rendered.
        mask: bool [H, W], visible pixels.
        box: x, y, width, height of the mask, pixels; zeros if nothing is visible.
        keypoints: float64 [17, 3], x, y, v.
        distance: from the camera, metres.
        parts: visible pixels per part ("top", "bottom", "hair", ...).
        yaw: degrees, 0 faces the camera.
    """

    body: Body
    outfit: Outfit
    mask: np.ndarray
    box: tuple[int, int, int, int]
    keypoints: Floats
    distance: float
    parts: dict[str, float]
    yaw: float

    @property
    def area(self) -> int:
        """Visible pixels."""
        return int(self.mask.sum())

    @property
    def centre_x(self) -> float:
        """Middle of the box, pixels."""
        return self.box[0] + self.box[2] / 2


@dataclass
class Scene:
    """A picture (uint8 BGR [H, W, 3]) and its people; `described` are the indices visible well enough for a caption."""

    picture: np.ndarray
    figures: list[Figure]
    described: list[int] = field(default_factory=list)


def _canvas(rng: Rng, config: SceneConfig) -> tuple[int, int]:
    if config.aspect == "square":
        return config.size, config.size
    ratio = float(np.exp(rng.uniform(np.log(0.66), np.log(1.6))))
    if ratio >= 1:
        return config.size, max(16, round(config.size / ratio))
    return max(16, round(config.size * ratio)), config.size


def _camera(rng: Rng, width: int, height: int, tall: float) -> tuple[Camera, float]:
    """A camera and the distance at which somebody of height `tall` fills the wanted share of the picture."""
    field_of_view = np.radians(rng.uniform(28, 52))
    focal = max(width, height) / 2 / np.tan(field_of_view / 2)
    share = float(np.exp(rng.uniform(np.log(0.48), np.log(1.15))))
    distance = max(1.7, focal * tall / (share * height))
    eye = rng.uniform(0.8, 2.1)
    aim = rng.uniform(0.45, 0.58) * tall if share < 0.95 else rng.uniform(0.58, 0.72) * tall
    return Camera(width, height, float(focal), eye, float(np.arctan2(eye - aim, distance))), distance


def _outline(camera: Camera, actor: Actor) -> Floats:
    """Rough box of an actor from the projected keypoints: x0, y0, x1, y1."""
    points = camera.project(actor.placed(actor.body.keypoints))[:, :2]
    low, high = points.min(0), points.max(0)
    pad = 0.10 * (high[1] - low[1])
    return np.array([low[0] - pad / 2, low[1] - pad, high[0] + pad / 2, high[1] + pad])


def _crowding(outlines: list[Floats], order: list[float], width: int, height: int) -> float:
    """How bad a layout is: the largest share of somebody hidden by nearer people or cut off at the sides."""
    worst = 0.0
    for mine, distance in zip(outlines, order):
        grid_x = np.linspace(mine[0], mine[2], 9)[None]
        grid_y = np.linspace(mine[1], mine[3], 9)[:, None]
        hidden = (grid_x < 0) | (grid_x > width) | (grid_y < -0.02 * height)
        hidden = np.broadcast_to(hidden, (9, 9)).copy()
        for other, nearer in zip(outlines, order):
            if nearer < distance:
                hidden |= (grid_x > other[0]) & (grid_x < other[2]) & (grid_y > other[1]) & (grid_y < other[3])
        worst = max(worst, float(hidden.mean()))
    return worst


def _layout(rng: Rng, camera: Camera, base: float, people: list[tuple[Body, Outfit]]) -> list[Actor]:
    """Place people side by side in random order and at random distances, without hiding anybody too much."""
    best: list[Actor] = []
    best_score = np.inf
    count = len(people)
    for _ in range(10):
        slots = (np.arange(count) + 0.5) / count + rng.uniform(-0.42, 0.42, count) / count
        if count > 1 and rng.random() < 0.5:  # closer together
            slots = 0.5 + (slots - 0.5) * rng.uniform(0.55, 0.95)
        rng.shuffle(slots)
        actors = []
        for (body, outfit), slot in zip(people, slots):
            distance = base * rng.uniform(0.95, 1.0 + 0.16 * count)
            yaw = rng.uniform(-75, 75) if rng.random() < 0.8 else rng.uniform(0, 360)
            actors.append(Actor(body, outfit, yaw, camera.ground_point(slot * camera.width, distance)))
        outlines = [_outline(camera, actor) for actor in actors]
        score = _crowding(outlines, [float(a.position[1]) for a in actors], camera.width, camera.height_px)
        if score < best_score:
            best, best_score = actors, score
        if best_score < 0.45:
            break
    return best


def _seat(rng: Rng, actor: Actor) -> Layer:
    """A box under somebody who sits."""
    hips = actor.body.keypoints[11:13].mean(0)
    lowest = float(hips[2]) - 0.12
    centre = actor.placed(np.array([[hips[0], hips[1] + 0.02, 0]], np.float32))[0]
    rgb = rng.uniform(50, 190) + rng.normal(0, 20, 3)
    return box(centre, (0.46, 0.44, max(0.08, lowest)), actor.yaw, np.clip(rgb, 20, 230))


def _props(rng: Rng, camera: Camera, base: float, actors: list[Actor]) -> list[Layer]:
    """Seats, some boxes around, and now and then one in front of somebody."""
    found = [_seat(rng, actor) for actor in actors if actor.body.pose.action == "sitting"]
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.45 else 0):
        distance = base * rng.uniform(1.5, 2.4)
        size = (rng.uniform(0.4, 1.2), rng.uniform(0.3, 0.6), rng.uniform(0.3, 1.4))
        rgb = np.clip(rng.uniform(40, 210) + rng.normal(0, 25, 3), 15, 240)
        found.append(box(camera.ground_point(rng.uniform(0, camera.width), distance), size, rng.uniform(0, 90), rgb))
    if rng.random() < 0.12:
        victim = actors[int(rng.integers(len(actors)))].position
        spot = np.array([victim[0] + rng.uniform(-0.4, 0.4), victim[1] - rng.uniform(0.45, 0.6), 0])
        rgb = np.clip(rng.uniform(40, 210) + rng.normal(0, 25, 3), 15, 240)
        found.append(box(spot, (rng.uniform(0.4, 1.0), 0.2, rng.uniform(0.3, 0.75)), rng.uniform(-15, 15), rgb))
    return found


def composite(rendered: Rendered, background: Floats, camera: Camera, darkness: float = 0.45) -> Floats:
    """Lay people over a background, with their shadows on the ground and the light matched to it.

    Args:
        rendered: people and props.
        background: linear float32 [H, W, 3].
        camera: the view.
        darkness: of the shadows, 0..1.

    Returns:
        Linear float32 [H, W, 3].
    """
    points, hit = camera.ground()
    shade: Floats = np.zeros(hit.shape, np.float32)
    shade[hit] = rendered.shadow_map.shadow(points[hit], bias=0.0)
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.6, camera.width / 400))
    mean = float(background.mean())
    gain = np.clip(0.65 + 1.1 * mean, 0.7, 1.2)
    tint = (background.mean((0, 1)) / (mean + 1e-6)) ** 0.25
    behind = (1 - np.float32(darkness) * shade[..., None]) * (1 - rendered.alpha[..., None])
    return background * behind + rendered.colour * (gain * tint).astype(np.float32)


def to_bgr(linear: Floats) -> np.ndarray:
    """Linear RGB to a uint8 BGR picture (gamma 2.2)."""
    encoded = np.clip(linear, 0, 1) ** np.float32(1 / 2.2)
    return np.ascontiguousarray((encoded * 255).astype(np.uint8)[..., ::-1])


def _photographed(rng: Rng, picture: Floats) -> np.ndarray:
    """Exposure, blur and noise of a camera; linear RGB to uint8 BGR."""
    picture = picture * np.float32(rng.uniform(0.85, 1.2))
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.35, 0.9))
    image = to_bgr(picture)
    if rng.random() < 0.6:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(255 * rng.uniform(0.004, 0.022))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _masks(rendered: Rendered, factor: int, count: int) -> list[np.ndarray]:
    """Pixels of which each person covers half or more; no pixel belongs to two."""
    free = np.ones(rendered.alpha.shape, bool)
    masks = []
    for number in range(1, count + 1):
        mask = free & (pooled((rendered.owners == number).astype(np.float32), factor) >= 0.5)
        free &= ~mask
        masks.append(mask)
    return masks


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def assemble(
    rng: Rng, actors: list[Actor], props: list[Layer], camera: Camera, light: Light, background: Floats, factor: int = 2
) -> Scene:
    """Render actors over a background and collect what can be seen of each."""
    rendered = render(actors, props, camera, light, rng, factor)
    picture = _photographed(rng, composite(rendered, background, camera, rng.uniform(0.3, 0.6)))
    return collect(picture, actors, rendered, camera, factor)


def collect(picture: np.ndarray, actors: list[Actor], rendered: Rendered, camera: Camera, factor: int) -> Scene:
    """The scene that belongs to a picture: what can be seen of each actor."""
    figures = [
        Figure(
            actor.body,
            actor.outfit,
            mask,
            _bounds(mask),
            keypoints,
            float(np.linalg.norm(actor.position[:2])),
            parts,
            actor.yaw,
        )
        for actor, mask, keypoints, parts in zip(
            actors, _masks(rendered, factor, len(actors)), rendered.keypoints, rendered.parts
        )
    ]
    least = MIN_VISIBLE_PIXELS * camera.width * camera.height_px
    described = [
        i for i, figure in enumerate(figures) if figure.area >= least and (figure.keypoints[:, 2] == 2).sum() >= 4
    ]
    return Scene(picture, figures, described)


def make_scene(rng: Rng, config: SceneConfig) -> Scene:
    """A random scene.

    Args:
        rng: every random decision comes from it.
        config: size and contents.
    """
    width, height = _canvas(rng, config)
    count = int(rng.integers(config.people[0], config.people[1] + 1))
    people = []
    for row in rng.choice(len(load_asset().coefficients), count, replace=False):
        build = build_of(int(row))
        people.append((make_body(build, sample_pose(rng)), sample_outfit(rng, build)))
    tall = max(float(np.ptp(body.skin[:, 2])) for body, _ in people)
    camera, base = _camera(rng, width, height, min(tall, 1.9))
    actors = _layout(rng, camera, base * (1 + 0.06 * (count - 1)), people)
    props = _props(rng, camera, base, actors)
    light = sample_light(rng)
    far = max(float(actor.position[1]) for actor in actors)
    if config.photos:
        background = backgrounds.photo(rng, camera, config.photos[int(rng.integers(len(config.photos)))])
    else:
        background = backgrounds.procedural(rng, camera, far)
    return assemble(rng, actors, props, camera, light, background, config.supersampling)
