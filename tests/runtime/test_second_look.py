"""A second look at people who fill the frame."""

from __future__ import annotations

import numpy as np
import pytest
from counted_engines import counting_opener

from humar_edge.prompts import point_prompt
from humar_edge.results import Person
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.second_look import KEEP, LOOK_AGAIN, SHARE, coverage, with_second_look

FRAME = (100, 200)


def person(share, name="person", milliseconds=1.0):
    """Somebody whose box has a share of the square of the frame's longer side."""
    box = np.array([0, 0, share * 400, 100], np.float32)
    return Person(name, True, 0.9, box, np.zeros((17, 3), np.float32), FRAME, {"inference": milliseconds})


def looks(*answers):
    """Somebody's answers at the first and the second look, and a record of what was asked for."""
    asked = []

    def find(share, prompts):
        asked.append((share, list(prompts)))
        return [person(pair[share != 1], prompt) for prompt, pair in zip(prompts, answers, strict=True)]

    return find, asked


def test_coverage_is_a_share_of_the_square_of_the_longer_side():
    assert coverage(person(0.25)) == pytest.approx(0.25)


def test_people_of_ordinary_size_are_looked_at_once():
    find, asked = looks((0.9 * LOOK_AGAIN, None))
    assert coverage(with_second_look(find, ["a"])[0]) == pytest.approx(0.9 * LOOK_AGAIN)
    assert asked == [(1.0, ["a"])]


@pytest.mark.parametrize(("second", "kept"), [(1.2 * KEEP, "second"), (0.9 * KEEP, "first")])
def test_the_second_answer_counts_where_its_person_is_large(second, kept):
    first = 1.1 * LOOK_AGAIN
    find, asked = looks((first, second))
    (found,) = with_second_look(find, ["a"])
    assert asked == [(1.0, ["a"]), (SHARE, ["a"])]
    assert coverage(found) == pytest.approx({"first": first, "second": second}[kept])
    assert found.timings == {"inference": 2.0}


def test_only_those_who_fill_the_frame_are_looked_at_again():
    calls = []

    def find(share, prompts):
        calls.append((share, list(prompts)))
        return [person({"near": 0.5, "far": 0.1}[prompt] * (1 if share == 1 else 1.1), prompt) for prompt in prompts]

    found = with_second_look(find, ["far", "near", "far"])
    assert calls == [(1.0, ["far", "near", "far"]), (SHARE, ["near"])]
    assert [one.text for one in found] == ["far", "near", "far"]
    assert [round(coverage(one), 3) for one in found] == [0.1, 0.55, 0.1]


def test_a_bundle_answers_in_pixels_of_the_frame_at_both_looks(make_tiny_bundle, colour_scene, tmp_path):
    opener, runs = counting_opener()
    near = (100, 40, 420, 290)
    frame = colour_scene((300, 500), {"red": near, "green": (430, 40, 470, 100)})
    with Predictor(make_tiny_bundle(tmp_path / "b"), "onnxruntime", threads=1, opener=opener) as predictor:
        red, green, pointed = predictor.predict_many(frame, ["red", "green", point_prompt((200, 200))])
        assert [run for run in runs if run != "text"] == ["vision", "vision", "positional", "vision", "positional"]
        for found in (red, pointed):
            np.testing.assert_allclose(found.box_xyxy, near, atol=9)
            assert found.mask[60:270, 120:400].mean() > 0.98 and found.mask.sum() < 1.15 * 320 * 250
        np.testing.assert_allclose(green.box_xyxy, (430, 40, 470, 100), atol=5)
        runs.clear()
        predictor.second_look = False
        np.testing.assert_allclose(predictor.predict(frame, "red").box_xyxy, near, atol=5)
        assert runs == ["vision"]
