from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humar_edge.errors import SourceError
from humar_edge.runtime.preprocess import PAD_VALUE, Letterbox, as_bgr, prepare, read_image

side = st.integers(1, 20000)
canvas_side = st.integers(1, 256).map(lambda quarter: 4 * quarter)


@given(st.tuples(side, side), st.tuples(canvas_side, canvas_side), st.integers(0, 1000))
@settings(max_examples=300)
def test_round_trip_for_any_aspect_ratio(source, canvas, seed):
    letterbox = Letterbox.fit(source, canvas)
    points = np.random.default_rng(seed).random((20, 2)) * source[::-1]
    on_canvas = letterbox.to_canvas(points)
    np.testing.assert_allclose(letterbox.to_source(on_canvas), points, atol=1e-3)
    # float32, as engines answer, has an error relative to the canvas, which may stand for a huge picture.
    rounded = letterbox.to_source(on_canvas.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(rounded, points, atol=1e-3 + 1e-6 * max(source) * max(canvas) / min(canvas))
    # The picture's far corner is the content's far corner.
    content = np.array(letterbox.content_size[::-1]) / letterbox.canvas_wh
    np.testing.assert_allclose(letterbox.to_canvas(np.array(source[::-1])), content, rtol=1e-9)
    assert all(1 <= inner <= outer for inner, outer in zip(letterbox.content_size, canvas, strict=True))
    assert any(inner == outer for inner, outer in zip(letterbox.content_size, canvas, strict=True))


def test_pictures_land_where_the_geometry_says(colour_scene):
    frame = colour_scene((300, 500), {"red": (100, 200, 150, 260)})
    prepared = prepare(frame, (96, 128))
    image = prepared.image
    assert image.shape == (1, 96, 128, 3) and image.dtype == np.uint8 and image.flags.owndata
    height, width = prepared.letterbox.content_size
    assert (height, width) == (77, 128) and (image[0, height:] == PAD_VALUE).all()
    ys, xs = np.nonzero((image[0, ..., 0] > 190) & (image[0, ..., 2] < 64))
    corners = prepared.letterbox.to_canvas(np.array([[100, 200], [150, 260]])) * [128, 96]
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], corners.ravel(), atol=0.75)


def test_frames_do_not_share_memory():
    frame = np.zeros((96, 128, 3), dtype=np.uint8)
    first, second = prepare(frame, (96, 128)), prepare(frame, (96, 128))
    assert not np.shares_memory(first.image, second.image) and not np.shares_memory(first.image, frame)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_tiny_and_extreme_pictures(shape):
    assert prepare(np.full((*shape, 3), 7, dtype=np.uint8), (64, 64)).image.min() == 7


def test_every_kind_of_picture_gives_the_same_bgr():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.stack([grey] * 3, axis=2)
    alpha = np.zeros((16, 16, 1), dtype=np.uint8)
    kinds = [
        grey,
        grey[..., None],
        np.concatenate([grey[..., None], alpha], axis=2),
        expected,
        np.concatenate([expected, alpha], axis=2),
        grey.astype(np.uint16) * 257,
        expected.astype(np.uint16) * 257,
        np.asfortranarray(expected),
        expected[::-1][::-1],
    ]
    for kind in kinds:
        np.testing.assert_array_equal(as_bgr(kind), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), "float64; scale it to uint8"),
        (np.zeros((4, 4, 3), dtype=bool), "got bool"),
        (np.zeros((4, 4, 5), dtype=np.uint8), r"got \[4, 4, 5\]"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"got \[0, 4, 3\]"),
        (np.zeros(4, dtype=np.uint8), r"got \[4\]"),
        ("a.png", "numpy array, got str"),
    ],
)
def test_other_arrays_are_refused(image, message):
    with pytest.raises(SourceError, match=message):
        as_bgr(image)


@pytest.mark.parametrize(
    "image", [np.full((4, 6), 40, np.uint8), np.full((4, 6, 4), 40, np.uint8), np.full((4, 6, 3), 40 * 257, np.uint16)]
)
def test_read_image(tmp_path, image):
    path = tmp_path / "ü.png"
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    read = read_image(path)
    assert read.shape == (4, 6, 3) and read.dtype == np.uint8 and (read == 40).all()
    with pytest.raises(SourceError, match="directory"):
        read_image(tmp_path)
