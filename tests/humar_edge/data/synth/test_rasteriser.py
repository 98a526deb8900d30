from __future__ import annotations

import numpy as np

from humar_edge.data.synth.camera import Camera
from humar_edge.data.synth.rasteriser import interpolate, nearest, rasterise

FRONT = np.array([[2.0, 2.0, 0.5], [2.0, 18.0, 0.5], [18.0, 2.0, 0.5]], np.float32)
FACE = np.array([[0, 1, 2]])


def test_a_triangle_covers_the_pixel_centres_inside_it():
    found = rasterise(FRONT, FACE, 20, 20)
    assert abs(len(found.pixel) - 0.5 * 16 * 16) <= 8
    assert len(np.unique(found.pixel)) == len(found.pixel)
    np.testing.assert_allclose(found.weight.sum(1), 1, atol=1e-5)
    places = interpolate(FRONT, FACE, found)
    np.testing.assert_allclose(places[:, 0], found.pixel % 20 + 0.5, atol=1e-3)
    np.testing.assert_allclose(places[:, 1], found.pixel // 20 + 0.5, atol=1e-3)


def test_triangles_that_face_away_are_dropped_unless_double_sided():
    away = FACE[:, ::-1]
    assert len(rasterise(FRONT, away, 20, 20).pixel) == 0
    assert len(rasterise(FRONT, away, 20, 20, double_sided=True).pixel) > 0


def test_a_triangle_outside_or_behind_the_camera_leaves_nothing():
    assert len(rasterise(FRONT + np.array((100, 0, 0)), FACE, 20, 20).pixel) == 0
    assert len(rasterise(FRONT * np.array((1, 1, -1)), FACE, 20, 20, double_sided=True).pixel) == 0


def test_two_triangles_that_share_an_edge_leave_no_gap():
    square = np.array([[1, 1, 1], [1, 13, 1], [13, 1, 1], [13, 13, 1]], np.float32)
    found = rasterise(square, np.array([[0, 1, 2], [2, 1, 3]]), 16, 16)
    assert len(np.unique(found.pixel)) == 12 * 12


def test_interpolation_is_perspective_correct():
    camera = Camera(64, 64, 60.0, 0.0, 0.0)
    world = np.array([[-1, 2, -1], [1, 6, -1], [-1, 2, 1]], np.float32)
    found = rasterise(camera.project(world), FACE, 64, 64, double_sided=True)
    points = interpolate(world, FACE, found)
    back = camera.project(points)
    np.testing.assert_allclose(back[:, 0], found.pixel % 64 + 0.5, atol=2e-2)
    np.testing.assert_allclose(back[:, 2], found.nearness, rtol=1e-3)


def test_the_nearest_fragment_wins():
    winners, buffer = nearest(np.array([3, 3, 1]), np.array([0.2, 0.7, 0.1], np.float32), 5)
    assert winners.tolist() == [2, 1]
    np.testing.assert_allclose(buffer, [0, 0.1, 0, 0.7, 0])


def test_ground_points_project_to_the_column_they_were_asked_for():
    camera = Camera(200, 100, 150.0, 1.6, 0.2)
    for column in (10.0, 100.0, 180.0):
        x, y, near = camera.project(camera.ground_point(column, 4.0)[None])[0]
        assert abs(x - column) < 0.01 and near > 0
        points, hit = camera.ground()
        row = int(y)
        if 0 <= row < 100:
            assert hit[row, int(column)]
            assert abs(points[row, int(column), 1] - 4.0) < 0.2
