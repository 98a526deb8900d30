from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from humar_edge import rle


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    seed, share = draw(st.integers(0, 1000)), draw(st.sampled_from([0.0, 0.01, 0.3, 0.99, 1.0]))
    return np.random.default_rng(seed).random((height, width)) < share


@given(masks())
def test_round_trip_of_both_forms(mask):
    np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask)
    uncompressed = {"size": list(mask.shape), "counts": rle.run_lengths(mask)}
    np.testing.assert_array_equal(rle.decode(uncompressed), mask)


def test_known_strings():
    # By hand: runs 2, 2 -> "22"; one run of 33 zeros = 0b1_00001 -> group 1 with "more", then 1.
    assert rle.encode(np.array([[False, True], [False, True]])) == {"size": [2, 2], "counts": "22"}
    assert rle.encode(np.zeros((33, 1), dtype=bool))["counts"] == "Q1"


@given(masks())
def test_same_as_pycocotools(mask):
    pycocotools = pytest.importorskip("pycocotools.mask")
    assert pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode() == rle.encode(mask)["counts"]
