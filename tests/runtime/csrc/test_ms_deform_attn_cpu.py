"""The host library equals PyTorch's grid_sample, to 1e-5 in FP32."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

FLOAT, HALF = 0, 1
OK, BAD_LEVEL = 0, 4

# batch, heads, channels, queries, points, levels (height, width)
SHAPES = [
    (1, 8, 32, 20, 4, [(20, 20), (10, 10), (5, 5), (3, 3)]),
    (2, 3, 5, 7, 3, [(7, 13), (1, 9), (11, 1)]),
    (1, 1, 1, 1, 1, [(1, 1)]),
    (3, 2, 8, 4, 2, [(1, 1), (1, 1)]),
    (1, 2, 6, 33, 5, [(80, 80), (17, 31)]),
    (2, 4, 16, 5, 8, [(2, 3)]),
]


class Size(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32) for name in ("batch", "rows", "heads", "channels", "levels", "queries", "points")
    ]


@pytest.fixture(scope="module")
def library(host_library: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(host_library))
    loaded.humar_msda_message.restype = ctypes.c_char_p
    loaded.humar_float_to_half.argtypes = [ctypes.c_float]
    loaded.humar_float_to_half.restype = ctypes.c_uint16
    loaded.humar_half_to_float.argtypes = [ctypes.c_uint16]
    loaded.humar_half_to_float.restype = ctypes.c_float
    return loaded


def call(library, value, shapes, starts, locations, weights, softmax=False):
    """Run the host library on numpy arrays; returns (status, output)."""
    batch, rows, heads, channels = value.shape
    size = Size(batch, rows, heads, channels, len(shapes), locations.shape[1], locations.shape[4])
    output = np.full((batch, locations.shape[1], heads, channels), -7, dtype=value.dtype)
    types = {np.dtype(np.float32): FLOAT, np.dtype(np.float16): HALF}
    arrays = [np.ascontiguousarray(array) for array in (value, shapes, starts, locations, weights)]
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    status = library.humar_msda_cpu(
        ctypes.byref(size), types[value.dtype], *pointers[:4], types[weights.dtype], pointers[4],
        int(softmax), output.ctypes.data_as(ctypes.c_void_p),
    )  # fmt: skip
    return status, output


def reference(value, levels, locations, weights):
    """Deformable DETR, equation 3, with torch's grid_sample: FP32 tensors in the library's layouts."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    total = torch.zeros(batch * heads, channels, queries)
    per_level = value.split([height * width for height, width in levels], dim=1)
    for index, ((height, width), rows) in enumerate(zip(levels, per_level, strict=True)):
        image = rows.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        grid = 2 * locations[:, :, :, index] - 1
        grid = grid.transpose(1, 2).reshape(batch * heads, queries, points, 2)
        sampled = torch.nn.functional.grid_sample(
            image, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        weight = weights[:, :, :, index].transpose(1, 2).reshape(batch * heads, 1, queries, points)
        total += (sampled * weight).sum(-1)
    return total.reshape(batch, heads, channels, queries).permute(0, 3, 1, 2)


def random_case(shape, seed):
    """Random tensors: a third of the locations inside, a third around the borders, the rest on exact edges."""
    batch, heads, channels, queries, points, levels = shape
    generator = np.random.default_rng(seed)
    areas = [height * width for height, width in levels]
    value = generator.standard_normal((batch, sum(areas), heads, channels), dtype=np.float32)
    size = (batch, queries, heads, len(levels), points, 2)
    inside = generator.random(size, dtype=np.float32)
    around = generator.uniform(-0.6, 1.6, size).astype(np.float32)
    exact = generator.choice(np.array([-1, -0.5, 0, 0.25, 0.5, 1, 1.5, 40], dtype=np.float32), size)
    kind = generator.integers(0, 3, (*size[:-1], 1))
    locations = np.choose(kind, [inside, around, exact]).astype(np.float32)
    logits = generator.standard_normal(size[:-1], dtype=np.float32) * 2
    flat = np.exp(logits.reshape(batch, queries, heads, -1))
    weights = (flat / flat.sum(-1, keepdims=True)).reshape(logits.shape)
    starts = np.cumsum([0, *areas[:-1]]).astype(np.int32)
    return value, np.array(levels, dtype=np.int32), starts, locations, logits, weights


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(f"{h}.{w}" for h, w in shape[-1]))
def test_fp32_equals_grid_sample(library, shape, seed):
    value, shapes, starts, locations, logits, weights = random_case(shape, seed)
    expected = reference(torch.from_numpy(value), shape[-1], torch.from_numpy(locations), torch.from_numpy(weights))
    status, output = call(library, value, shapes, starts, locations, weights)
    assert status == OK
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=1e-5)

    status, fused = call(library, value, shapes, starts, locations, logits, softmax=True)
    assert status == OK
    np.testing.assert_allclose(fused, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("weight_type", [np.float16, np.float32])
def test_fp16_values_differ_from_fp32_only_by_rounding(library, weight_type):
    value, shapes, starts, locations, _, weights = random_case(SHAPES[0], 11)
    value, weights = value.astype(np.float16), weights.astype(weight_type)
    status, output = call(library, value, shapes, starts, locations, weights)
    assert status == OK
    assert output.dtype == np.float16
    _, exact = call(library, value.astype(np.float32), shapes, starts, locations, weights.astype(np.float32))
    np.testing.assert_array_equal(output, exact.astype(np.float16))


def test_locations_that_are_not_finite_add_nothing(library):
    value, shapes, starts, locations, _, weights = random_case(SHAPES[1], 5)
    locations[0, 0] = np.nan
    locations[0, 1] = np.inf
    locations[0, 2] = -np.inf
    status, output = call(library, value, shapes, starts, locations, weights)
    assert status == OK
    assert not output[0, :3].any()
    assert np.isfinite(output).all()


def test_levels_may_come_in_any_order(library):
    value, shapes, starts, locations, _, weights = random_case(SHAPES[1], 6)
    order = [2, 0, 1]
    _, expected = call(library, value, shapes, starts, locations, weights)
    _, output = call(library, value, shapes[order], starts[order], locations[:, :, :, order], weights[:, :, :, order])
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("level", "start"), [((7, 14), 0), ((0, 3), 0), ((-1, 5), 0), ((7, 13), 30), ((7, 13), -1)])
def test_levels_outside_the_rows_are_refused(library, level, start):
    value, shapes, starts, locations, _, weights = random_case((1, 1, 4, 2, 1, [(7, 13)]), 0)
    shapes[0], starts[0] = level, start
    status, output = call(library, value, shapes, starts, locations, weights)
    assert status == BAD_LEVEL
    assert (output == -7).all()
    assert b"do not fit" in library.humar_msda_message(status)


def test_half_to_float_equals_numpy_for_every_pattern(library):
    patterns = np.arange(0x10000, dtype=np.uint16)
    expected = patterns.view(np.float16).astype(np.float32)
    actual = np.array([library.humar_half_to_float(int(bits)) for bits in patterns], dtype=np.float32)
    np.testing.assert_array_equal(actual, expected)


def test_float_to_half_equals_numpy(library):
    generator = np.random.default_rng(3)
    anything = generator.integers(0, 1 << 32, 20_000, dtype=np.uint32).view(np.float32)
    in_range = generator.standard_normal(20_000) * 2.0 ** generator.integers(-26, 17, 20_000)
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[:-1] + halves[1:]) / 2
    values = np.concatenate([anything[np.isfinite(anything)], in_range.astype(np.float32), ties, -ties])
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).view(np.uint16)
    actual = np.array([library.humar_float_to_half(float(value)) for value in values], dtype=np.uint16)
    np.testing.assert_array_equal(actual, expected)
