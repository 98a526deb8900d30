"""People and props to pixels: colour, coverage, instance ids, depth and keypoint visibility in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .asset import Floats, Ints, load_asset
from .body import Body, vertex_normals
from .camera import Camera
from .garments import Layer, layers
from .lighting import Light, ShadowMap, crevices
from .outfits import Outfit
from .rasteriser import Fragments, interpolate, nearest, rasterise
from .skeleton import rot_z

Rng = np.random.Generator

JOINT_DEPTH = np.array(
    [0.05, 0.05, 0.05, 0.07, 0.07, 0.14, 0.14, 0.09, 0.09, 0.07, 0.07, 0.17, 0.17, 0.11, 0.11, 0.09, 0.09]
)
"""How far below the visible surface a joint may lie and still count as seen, metres, COCO order."""


@dataclass(frozen=True)
class Actor:
    """A dressed body at a place: `yaw` in degrees turns it about the vertical (0 faces the camera)."""

    body: Body
    outfit: Outfit
    yaw: float
    position: Floats

    def placed(self, points: Floats) -> Floats:
        """Points of the body's frame in the world, float32."""
        rotation = rot_z(np.radians(self.yaw)).astype(np.float32)
        return points @ rotation.T + self.position.astype(np.float32)


@dataclass
class Rendered:
    """What `render` returns; S is the supersampling factor, people are numbered from 1.

    Attributes:
        colour: float32 [H, W, 3], linear, multiplied by the coverage.
        alpha: float32 [H, W], coverage by people and props.
        owners: uint8 [S*H, S*W], number of the person, 0 for props and background.
        nearness: float32 [S*H, S*W], 1 / depth in 1/metres, 0 for background.
        keypoints: per person float64 [17, 3], x, y in pixels of the picture and v (0 outside, 1 hidden, 2 seen).
        parts: per person, visible pixels (of the picture) of each part.
        shadow_map: to cast shadows on the background.
    """

    colour: Floats
    alpha: Floats
    owners: Ints
    nearness: Floats
    keypoints: list[Floats]
    shadow_map: ShadowMap
    parts: list[dict[str, float]] = field(default_factory=list)


def _wrinkles(rest: Floats, phase: Floats) -> Floats:
    """Gradient of a field of folds over rest coordinates, float32 [n, 3]."""
    out = np.zeros((len(rest), 3), np.float32)
    waves = ((26, (1.0, 0.6, 0.3)), (44, (-0.5, 0.9, 0.7)), (60, (0.3, -0.7, 1.0)), (17, (0.2, 0.3, -1.0)))
    for (frequency, direction), shift in zip(waves, phase):
        axis = np.array(direction, np.float32)
        out += np.cos(frequency * (rest[:, :3] @ axis) + shift)[:, None] * axis
    return out


def _visible_layer(layer: Layer, points: Floats, width: int, height: int) -> tuple[Fragments, Floats]:
    fragments = rasterise(points, layer.faces, width, height, double_sided=layer.double_sided)
    attributes = interpolate(layer.attributes, layer.faces, fragments)
    if layer.cut is not None:
        keep = np.nonzero(layer.cut(attributes))[0]
        fragments, attributes = fragments.where(keep), attributes[keep]
    return fragments, attributes


def _normals(layer: Layer, fragments: Fragments, towards: Floats, attributes: Floats, phase: Floats) -> Floats:
    if layer.flat:
        corner = layer.vertices[layer.faces]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal = face[fragments.face]
    else:
        normal = interpolate(vertex_normals(layer.vertices, layer.faces), layer.faces, fragments)
    normal = np.where(((normal * towards).sum(1) < 0)[:, None], -normal, normal)
    if layer.wrinkle:
        normal = normal - 0.075 * layer.wrinkle * _wrinkles(attributes, phase)
    return (normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def _casters(actors: Sequence[Actor], props: Sequence[Layer]) -> list[tuple[Floats, Ints]]:
    faces = load_asset().faces
    meshes = [(prop.vertices, prop.faces) for prop in props]
    for actor in actors:
        skin = [faces["body"], faces["skirt"]] if actor.outfit.bottom.skirted else [faces["body"]]
        meshes.append((actor.placed(actor.body.skin), np.concatenate(skin)))
        meshes.append((actor.placed(actor.body.cloth), faces["cloth"]))
    return meshes


def pooled(values: Floats, factor: int) -> Floats:
    """Means of blocks of factor x factor values; [S*H, S*W, ...] to [H, W, ...]."""
    blocks = [values[row::factor, column::factor] for row in range(factor) for column in range(factor)]
    return np.asarray(sum(blocks[1:], blocks[0])) / np.float32(factor**2)


def see_keypoints(points: Floats, owner: int, owners: Ints, nearness: Floats, factor: int) -> Floats:
    """Visibility of projected joints against the depth and id buffers.

    Args:
        points: [17, 3], x and y in pixels of the picture, 1 / depth.
        owner: number of the person.
        owners, nearness: supersampled buffers, [S*H, S*W].
        factor: S.

    Returns:
        float64 [17, 3]: x, y, v. A joint is seen when a pixel in its 3x3 neighbourhood shows the person itself no more
        than `JOINT_DEPTH` in front of it; joints outside are all zero.
    """
    height, width = nearness.shape
    out = np.zeros((17, 3))
    for i, (x, y, near) in enumerate(points.astype(np.float64)):
        column, row = int(np.floor(x * factor)), int(np.floor(y * factor))
        if near <= 0 or not (0 <= column < width and 0 <= row < height):
            continue
        window = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        seen = nearness[window]
        close = 1 / np.maximum(seen, 1e-6) > 1 / near - JOINT_DEPTH[i]
        out[i] = x, y, 2 if (close & (owners[window] == owner)).any() else 1
    return out


def render(
    actors: Sequence[Actor], props: Sequence[Layer], camera: Camera, light: Light, rng: Rng, factor: int = 2
) -> Rendered:
    """Render people and props without a background.

    Args:
        actors: the people; `owners` numbers them from 1.
        props: layers in world coordinates.
        camera: gives the size of the picture.
        light: sky and sun.
        rng: for the folds.
        factor: supersampling in both directions.
    """
    big = camera.scaled(factor)
    width, height = big.width, big.height_px
    drawn: list[tuple[int, Layer, Fragments, Floats]] = []
    owned = [(0, prop) for prop in props]
    for number, actor in enumerate(actors, 1):
        owned += [
            (number, replace(item, vertices=actor.placed(item.vertices))) for item in layers(actor.body, actor.outfit)
        ]
    phases = rng.uniform(0, 2 * np.pi, (len(actors) + 1, 4)).astype(np.float32)
    for number, layer in owned:
        fragments, attributes = _visible_layer(layer, big.project(layer.vertices), width, height)
        drawn.append((number, layer, fragments, attributes))
    pixel = np.concatenate([fragments.pixel for _, _, fragments, _ in drawn] or [np.zeros(0, np.int64)])
    near = np.concatenate([fragments.nearness for _, _, fragments, _ in drawn] or [np.zeros(0, np.float32)])
    winners, buffer = nearest(pixel, near, width * height)
    shadow_map = ShadowMap(_casters(actors, props), light.sun)
    nearness = buffer.reshape(height, width)
    open_ = crevices(nearness, max(3, width // 50)).ravel()

    colour = np.zeros((width * height, 3), np.float32)
    owners = np.zeros(width * height, np.uint8)
    parts: list[dict[str, float]] = [{} for _ in actors]
    eye = np.array([0, 0, camera.height], np.float32)
    start = 0
    winners = np.sort(winners)
    for number, layer, fragments, attributes in drawn:
        first, last = np.searchsorted(winners, [start, start + len(fragments.pixel)])
        shown = winners[first:last] - start
        start += len(fragments.pixel)
        if not len(shown):
            continue
        seen, values = fragments.where(shown), attributes[shown]
        place = interpolate(layer.vertices, layer.faces, seen)
        normal = _normals(layer, seen, eye - place, values, phases[number])
        lit = 1 - shadow_map.shadow(place)
        colour[seen.pixel] = light.shade(layer.paint(values), normal, lit, open_[seen.pixel])
        owners[seen.pixel] = number
        if number and layer.part:
            tally = parts[number - 1]
            tally[layer.part] = tally.get(layer.part, 0) + len(shown) / factor**2
    ids = owners.reshape(height, width)
    keypoints = []
    for number, actor in enumerate(actors, 1):
        points = camera.project(actor.placed(actor.body.keypoints))
        keypoints.append(see_keypoints(points, number, ids, nearness, factor))
    alpha = pooled((nearness > 0).astype(np.float32), factor)
    return Rendered(
        pooled(colour.reshape(height, width, 3), factor), alpha, ids, nearness, keypoints, shadow_map, parts
    )
