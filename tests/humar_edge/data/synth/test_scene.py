from __future__ import annotations

import numpy as np
import pytest

from humar_edge.data.synth.body import build_of, make_body
from humar_edge.data.synth.camera import Camera
from humar_edge.data.synth.lighting import sample_light
from humar_edge.data.synth.outfits import sample_outfit
from humar_edge.data.synth.poses import sample_pose
from humar_edge.data.synth.props import box
from humar_edge.data.synth.render import Actor
from humar_edge.data.synth.scene import Scene, SceneConfig, assemble, make_scene

GREY = np.array((120.0, 120.0, 120.0))


def standing(x: float, distance: float, seed: int = 3, yaw: float = 0.0) -> Actor:
    rng = np.random.default_rng(seed)
    build = build_of(int(rng.integers(500)))
    return Actor(
        make_body(build, sample_pose(rng, "standing")), sample_outfit(rng, build), yaw, np.array([x, distance, 0])
    )


def shot(actors: list[Actor], props=(), width: int = 160, height: int = 200) -> Scene:
    camera = Camera(width, height, 210.0, 1.2, 0.06)
    background = np.full((height, width, 3), 0.4, np.float32)
    rng = np.random.default_rng(0)
    return assemble(rng, actors, list(props), camera, sample_light(rng), background)


def test_a_person_alone_is_seen_from_head_to_foot():
    scene = shot([standing(0, 2.6)])
    figure = scene.figures[0]
    assert scene.described == [0]
    assert (figure.keypoints[:, 2] == 2).sum() >= 14
    x, y, w, h = figure.box
    assert figure.mask[y : y + h, x : x + w].sum() == figure.area > 800
    inside = [figure.mask[int(v), int(u)] for u, v, s in figure.keypoints if s == 2]
    assert np.mean(inside) > 0.85
    assert figure.keypoints[0, 1] < figure.keypoints[5, 1] < figure.keypoints[11, 1] < figure.keypoints[15, 1]


def test_turning_round_swaps_the_sides():
    front, back = shot([standing(0, 2.6)]).figures[0], shot([standing(0, 2.6, yaw=180)]).figures[0]
    assert front.keypoints[5, 0] > front.keypoints[6, 0]
    assert back.keypoints[5, 0] < back.keypoints[6, 0]
    assert back.keypoints[0, 2] == 1  # the nose is hidden by the head


def test_somebody_in_front_hides_joints_and_pixels():
    behind, before = standing(0, 3.4, seed=3), standing(0.05, 2.4, seed=5)
    alone, together = shot([behind]).figures[0], shot([behind, before])
    hidden = together.figures[0]
    assert hidden.area < 0.6 * alone.area
    assert (hidden.keypoints[:, 2] == 1).sum() > (alone.keypoints[:, 2] == 1).sum() + 4
    assert not (hidden.mask & together.figures[1].mask).any()
    np.testing.assert_allclose(hidden.keypoints[:, :2], alone.keypoints[:, :2])


def test_a_box_in_front_hides_the_legs_only():
    figure = shot([standing(0, 2.8)], [box(np.array([0, 2.2]), (1.2, 0.2, 0.7), 0, GREY)]).figures[0]
    assert (figure.keypoints[[15, 16], 2] == 1).all()
    assert (figure.keypoints[[5, 6], 2] == 2).all()


def test_joints_outside_the_picture_are_zero():
    figure = shot([standing(0.85, 2.2)]).figures[0]
    outside = figure.keypoints[figure.keypoints[:, 2] == 0]
    assert len(outside) and not outside.any()
    seen = figure.keypoints[figure.keypoints[:, 2] > 0]
    assert (seen[:, 0] < 160).all() and (seen[:, 1] < 200).all() and (seen[:, :2] >= 0).all()


def test_somebody_out_of_sight_has_no_box_and_no_caption():
    scene = shot([standing(0, 2.6), standing(9.0, 3.0)])
    assert scene.described == [0]
    assert scene.figures[1].area == 0 and scene.figures[1].box == (0, 0, 0, 0)


def test_the_same_seed_gives_the_same_scene():
    config = SceneConfig(size=96)
    one, two = (make_scene(np.random.default_rng(7), config) for _ in range(2))
    assert np.array_equal(one.picture, two.picture)
    assert [figure.box for figure in one.figures] == [figure.box for figure in two.figures]


@pytest.mark.parametrize("aspect", ["square", "random"])
def test_size_aspect_and_number_of_people_are_as_asked(aspect: str):
    for seed in range(4):
        scene = make_scene(np.random.default_rng(seed), SceneConfig(size=96, aspect=aspect, people=(2, 3)))
        height, width = scene.picture.shape[:2]
        assert max(height, width) == 96 and scene.picture.dtype == np.uint8
        assert 0.6 < width / height < 1.7
        assert len(scene.figures) in (2, 3)
        if aspect == "square":
            assert height == width
