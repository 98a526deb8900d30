from __future__ import annotations

import numpy as np
import pytest

from humar_edge.data.synth.asset import load_asset
from humar_edge.data.synth.body import build_of, make_body
from humar_edge.data.synth.poses import MAKERS, gait, sample_pose

LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE, NOSE = 9, 10, 11, 13, 15, 0
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6


def body(action: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    return make_body(build_of(int(rng.integers(500))), sample_pose(rng, action))


def test_keypoint_regressors_are_weighted_means():
    asset = load_asset()
    assert asset.keypoint_index.shape == asset.keypoint_weight.shape == (17, 64)
    np.testing.assert_allclose(asset.keypoint_weight.sum(1), 1, atol=1e-4)


def test_skinning_weights_sum_to_one():
    for surface in (load_asset().skin, load_asset().cloth):
        np.testing.assert_allclose(surface.weights.sum(1), 1, atol=2e-3)


@pytest.mark.parametrize("action", MAKERS)
def test_every_action_stands_on_the_ground_at_a_human_size(action: str):
    for seed in range(3):
        found = body(action, seed)
        assert np.isfinite(found.skin).all() and np.isfinite(found.cloth).all()
        assert -0.02 < min(found.skin[:, 2].min(), found.cloth[:, 2].min()) < 0.05
        assert 0.6 < np.ptp(found.skin[:, 2]) < 2.6
        thigh = np.linalg.norm(found.keypoints[LEFT_HIP] - found.keypoints[LEFT_KNEE])
        shin = np.linalg.norm(found.keypoints[LEFT_KNEE] - found.keypoints[LEFT_ANKLE])
        assert 0.2 < thigh < 0.6 and 0.2 < shin < 0.6


def test_left_is_on_the_viewers_right_of_a_person_who_faces_the_camera():
    points = body("standing").keypoints
    assert points[LEFT_SHOULDER, 0] > points[RIGHT_SHOULDER, 0]
    assert points[NOSE, 1] < points[LEFT_SHOULDER, 1]  # faces -Y


def test_actions_do_what_they_say():
    for seed in range(5):
        raised = body("arms raised", seed).keypoints
        assert raised[[LEFT_WRIST, RIGHT_WRIST], 2].min() > raised[NOSE, 2] - 0.1
        waving = body("waving", seed).keypoints
        assert waving[[LEFT_WRIST, RIGHT_WRIST], 2].max() > waving[[LEFT_SHOULDER, RIGHT_SHOULDER], 2].min()
        sitting = body("sitting", seed).keypoints
        assert abs(sitting[LEFT_HIP, 2] - sitting[LEFT_KNEE, 2]) < 0.2


def test_gait_is_periodic_and_its_sides_alternate():
    one, _ = gait(0.3, 25)
    again, _ = gait(0.3 + 2 * np.pi, 25)
    half, _ = gait(0.3 + np.pi, 25)
    assert one["L"].hip == pytest.approx(again["L"].hip)
    assert one["L"].hip == pytest.approx(half["R"].hip)
