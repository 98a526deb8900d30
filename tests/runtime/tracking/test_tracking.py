"""Smoothing, presence and region of interest: figures of the requirement, and exact mapping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from humar_edge.prompts import point_prompt
from humar_edge.results import Person
from humar_edge.runtime.tracking import (
    OneEuroFilter,
    PersonTracker,
    PresenceTracker,
    Region,
    RegionOfInterest,
    follow_points,
)

FPS, BODY = 30.0, 400.0


def smooth(points: np.ndarray, fps: float = FPS) -> np.ndarray:
    one_euro = OneEuroFilter()
    return np.stack([one_euro(p, index / fps, BODY) for index, p in enumerate(points)])


def person(box=(100, 50, 200, 450), score=0.9, size=(480, 640), noise=0.0, seed=0, threshold=0.5) -> Person:
    rng = np.random.default_rng(seed)
    left, top, right, bottom = box
    xy = np.stack([np.linspace(left, right, 17), np.linspace(top, bottom, 17)], 1)
    keypoints = np.concatenate([xy + rng.normal(0, noise, xy.shape), np.full((17, 1), 0.9)], 1).astype(np.float32)
    corners = (np.array(box) + rng.normal(0, noise, 4)).astype(np.float32)
    return Person("the man", score >= threshold, score, corners, keypoints, size)


@pytest.mark.parametrize(
    ("noise_share", "fps"),
    [(0.002, 15.0), (0.005, 15.0), (0.002, 30.0), (0.005, 30.0), (0.01, 30.0), (0.005, 60.0), (0.01, 60.0)],
)
def test_jitter_of_a_still_person_is_cut_by_three(noise_share, fps):
    rng = np.random.default_rng(1)
    noisy = rng.normal(0, noise_share * BODY, (900, 17, 2))
    settled = int(3 * fps)
    rms = np.sqrt((smooth(noisy, fps)[settled:] ** 2).mean())
    assert np.sqrt((noisy[settled:] ** 2).mean()) / rms >= 3


@pytest.mark.parametrize("speed", [1.0, 2.0, 4.0])
def test_fast_move_lags_at_most_one_frame(speed):
    """A person who suddenly moves `speed` body sizes per second, measured without noise at every frame."""
    steps = np.concatenate([np.zeros(60), np.ones(30)]) * speed * BODY / FPS
    path = np.cumsum(steps)
    points = np.stack([path, np.zeros_like(path)], 1)[:, None]
    lag_frames = (points - smooth(points))[60:, 0, 0] / (speed * BODY / FPS)
    assert lag_frames.max() <= 1.0


def test_filter_does_not_depend_on_the_resolution():
    rng = np.random.default_rng(2)
    points = rng.normal(0, 4, (50, 17, 2))
    small, large = OneEuroFilter(), OneEuroFilter()
    for index, p in enumerate(points):
        a, b = small(p, index / FPS, BODY), large(4 * p, index / FPS, 4 * BODY)
    assert np.allclose(4 * a, b)


def test_filter_holds_a_constant_and_repeated_times():
    one_euro = OneEuroFilter()
    points = np.full((3, 2), 7.0)
    for time_s in (0.0, 0.1, 0.1, 0.05, 0.2):
        assert np.allclose(one_euro(points, time_s, BODY), 7.0)


def test_presence_flickers_no_more():
    presence = PresenceTracker(on=0.5, off=0.3, found_after_s=0.1, lost_after_s=0.3)
    scores = [0.1, 0.6, 0.4, 0.6, 0.6, 0.4, 0.35, 0.2, 0.2, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1]
    states = [presence.update(score, index / 10) for index, score in enumerate(scores)]
    assert [s.state for s in states[:4]] == ["searching"] * 4
    assert states[4].event == "found" and states[4].since_s == pytest.approx(0.4)
    assert all(s.found and s.event is None for s in states[5:13])
    assert states[13].event == "lost" and states[14].state == "lost" and states[14].event is None


def test_tracker_smooths_keypoints_and_box():
    tracker = PersonTracker(0.5)
    raw = [person(noise=3.0, seed=index) for index in range(200)]
    out = [tracker.update(p, index / FPS) for index, p in enumerate(raw)]
    for name in ("keypoints", "box_xyxy"):
        before, after = (np.stack([getattr(p, name) for p in people])[60:] for people in (raw, out))
        assert before.std(0).max() / after.std(0).max() > 2.5
    assert out[-1].track == {"state": "found", "since_s": 0.0, "event": None}
    assert out[0].track["event"] == "found"


def test_tracker_bridges_a_weak_moment_but_not_a_leap():
    tracker = PersonTracker(0.5, lost_after_s=0.2)
    tracker.update(person(), 0.0)
    weak = tracker.update(person(score=0.2), 0.1)
    assert weak.found and weak.score == 0.2
    elsewhere = tracker.update(person(box=(500, 50, 600, 450), score=0.2), 0.15)
    assert elsewhere.found and elsewhere.box_xyxy[0] < 250
    gone = tracker.update(person(box=(500, 50, 600, 450), score=0.2), 0.4)
    assert not gone.found and gone.track["state"] == "lost"
    back = tracker.update(person(box=(500, 50, 600, 450)), 0.5)
    assert back.found and np.allclose(back.box_xyxy, (500, 50, 600, 450))


def test_another_resolution_is_another_view():
    tracker = PersonTracker(0.5)
    tracker.update(person(), 0.0)
    weak = tracker.update(person(box=(10, 10, 30, 90), score=0.2, size=(120, 160)), 0.1)
    assert weak.frame_size == (120, 160) and np.allclose(weak.box_xyxy, (10, 10, 30, 90))
    tracker = PersonTracker(0.5)
    tracker.update(person(), 0.0)
    overlapping = tracker.update(person(box=(100, 50, 180, 440), size=(960, 1280)), 0.03)
    assert np.allclose(overlapping.box_xyxy, (100, 50, 180, 440))  # not smoothed across the change


def test_another_person_is_not_reached_gradually():
    tracker = PersonTracker(0.5)
    for index in range(10):
        tracker.update(person(), index / FPS)
    leap = tracker.update(person(box=(450, 50, 550, 450)), 10 / FPS)
    assert np.allclose(leap.box_xyxy, (450, 50, 550, 450))


def test_region_maps_back_exactly():
    rng = np.random.default_rng(3)
    frame_size = (480, 640)
    for _ in range(50):
        left, top = int(rng.integers(0, 300)), int(rng.integers(0, 200))
        region = Region(left, top, left + int(rng.integers(20, 340)), top + int(rng.integers(20, 280)))
        crop_size = (region.bottom - region.top, region.right - region.left)
        mask = rng.random(crop_size) > 0.5
        inner = replace(person(box=(3, 4, 13, 19), size=crop_size), mask_source=lambda mask=mask: mask)
        outer = region.to_frame(inner, frame_size)
        assert np.array_equal(outer.box_xyxy, inner.box_xyxy + np.float32([left, top, left, top]))
        assert np.array_equal(outer.keypoints[:, :2], inner.keypoints[:, :2] + np.float32([left, top]))
        assert np.array_equal(outer.keypoints[:, 2], inner.keypoints[:, 2])
        assert outer.mask.shape == frame_size and outer.mask.sum() == mask.sum()
        assert np.array_equal(region.crop(outer.mask), mask)


def test_region_follows_refreshes_and_lets_go():
    roi = RegionOfInterest(refresh=3, margin=0.2)
    assert roi.next_region((480, 640)) is None
    roi.update([person(box=(300, 200, 340, 300))], None)
    region = roi.next_region((480, 640))
    assert region == Region(280, 180, 360, 320)
    for _ in range(2):
        roi.update([person(box=(300, 200, 340, 300))], region)
        region = roi.next_region((480, 640))
    assert region is not None
    roi.update([person(box=(300, 200, 340, 300))], region)
    assert roi.next_region((480, 640)) is None  # the refresh

    roi.update([person(box=(300, 200, 340, 300), score=0.1)], None)
    assert roi.next_region((480, 640)) is None  # lost
    roi.update([person(box=(280, 200, 340, 300))], Region(280, 180, 360, 320))
    assert roi.next_region((480, 640)) is None  # cut off by the region's edge
    roi.update([person(box=(10, 10, 600, 470))], None)
    assert roi.next_region((480, 640)) is None  # not worth it
    roi.update([person(box=(300, 200, 340, 300)), person(box=(380, 200, 400, 300))], None)
    both = roi.next_region((480, 640))
    assert both is not None and both.left < 300 and both.right > 400
    roi.update([person(box=(300, 200, 340, 300))], both)
    assert roi.next_region((240, 320)) is None  # the frame has become smaller


def test_positional_prompt_moves_with_the_person():
    prompt = point_prompt((120, 80))
    moved = follow_points(prompt, person(box=(300, 50, 400, 450)))
    assert moved.text == prompt.text and moved.points.shape == (12, 2)
    assert (moved.points[:, 0] >= 300).all()
    hidden = replace(person(box=(300, 50, 400, 450)), keypoints=np.zeros((17, 3), np.float32))
    assert (follow_points(prompt, hidden).points[:, 0] >= 300).all()
    assert follow_points(prompt, replace(hidden, found=False)) is prompt
