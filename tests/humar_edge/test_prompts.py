from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from humar_edge.bundle import Bundle
from humar_edge.errors import BundleError, PromptError
from humar_edge.prompts import Tokenizer, box_prompt, clean_text, point_prompt, scribble_prompt


def test_clean_text():
    assert clean_text("\t the  man\u00a0in\x00red\n") == "the man in red"
    assert clean_text("Mädchen 女の人") == "Mädchen 女の人"
    for empty in ("", "  \n", "\x00"):
        with pytest.raises(PromptError, match="prompt is empty; describe"):
            clean_text(empty)
    with pytest.raises(PromptError, match="must be text, got int"):
        clean_text(3)
    for broken in ("m\udce4n", "man \ud83d"):
        with pytest.raises(PromptError, match="not Unicode"):
            clean_text(broken)


def test_tokenizer(tiny_bundle, tmp_path):
    bundle = Bundle.load(tiny_bundle)
    encoding = Tokenizer(bundle.tokenizer, 8).encode("the Red unicorn")
    assert encoding.input_ids.tolist() == [[2, 7, 4, 1, 3, 0, 0, 0]]
    assert encoding.attention_mask.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    assert encoding.input_ids.dtype == encoding.attention_mask.dtype == np.int64 and not encoding.truncated
    long = Tokenizer(bundle.tokenizer, 8).encode("red " * 500)
    assert long.input_ids.tolist() == [[2, 4, 4, 4, 4, 4, 4, 3]] and long.truncated
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokenizer(tmp_path / "t.json", 8)


def test_points():
    prompt = point_prompt((12, 40.5))
    assert prompt.text == "point (12, 40.5)" and prompt.points.dtype == np.float32
    np.testing.assert_array_equal(prompt.points, np.tile([12, 40.5], (12, 1)))
    three = point_prompt([(0, 0), (1, 1), (2, 2)])
    np.testing.assert_array_equal(three.points[:, 0], [0, 1, 2] * 4)
    many = point_prompt(np.stack([np.arange(100)] * 2, axis=1)).points
    assert many.shape == (12, 2) and many[0, 0] == 0 and many[-1, 0] == 99


def test_a_scribble_is_resampled_by_length_not_by_index():
    line = [(0, 0), (1, 0), (2, 0), (11, 0)]
    np.testing.assert_allclose(scribble_prompt(line).points[:, 0], np.arange(12), atol=1e-5)
    np.testing.assert_array_equal(scribble_prompt([(3, 4), (3, 4)]).points, np.tile([3, 4], (12, 1)))


coordinate = st.floats(-1e4, 1e4, width=32)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=50))
def test_any_scribble_stays_in_its_bounds_and_keeps_its_ends(line):
    points, given_points = scribble_prompt(line).points, np.array(line, dtype=np.float32)
    assert points.shape == (12, 2) and points.dtype == np.float32
    np.testing.assert_allclose(points[[0, -1]], given_points[[0, -1]], atol=0.01)
    assert (points >= given_points.min(axis=0) - 0.01).all() and (points <= given_points.max(axis=0) + 0.01).all()


def test_a_box_becomes_twelve_points_inside():
    points = box_prompt((10, 20, 30, 60)).points
    assert len(np.unique(points, axis=0)) == 12
    assert (points > [10, 20]).all() and (points < [30, 60]).all()
    np.testing.assert_allclose(points.mean(axis=0), [20, 40], atol=1e-4)


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (point_prompt, []),
        (point_prompt, (1, 2, 3)),
        (point_prompt, "here"),
        (point_prompt, (1, float("nan"))),
        (scribble_prompt, [[1, 2, 3], [4, 5, 6]]),
        (scribble_prompt, [[1, 2], [3]]),
        (scribble_prompt, [[10**400, 2]]),
        (box_prompt, (1, 2, 3)),
        (box_prompt, (10, 0, 5, 9)),
        (box_prompt, (0, 0, 0, 9)),
    ],
)
def test_bad_places(make, values):
    with pytest.raises(PromptError, match="needs"):
        make(values)
