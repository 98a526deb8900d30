from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counted_engines import counting_opener

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError, BundleError, ConfigError, PromptError
from humar_edge.prompts import box_prompt, point_prompt
from humar_edge.runtime.predictor import STAGES, Predictor

RED, GREEN = (200, 100, 300, 340), (420, 60, 500, 280)


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    with Predictor(Bundle.load(tiny_bundle), threads=1) as predictor:
        yield predictor


@pytest.fixture
def frame(colour_scene):
    return colour_scene((360, 640), {"red": RED, "green": GREEN})


@pytest.mark.parametrize(("text", "box"), [("the man in RED", RED), ("green person", GREEN)])
def test_the_prompt_picks_the_person_in_source_pixels(predictor, frame, text, box):
    from bundle_factory import POSE

    person = predictor.predict(frame, text)
    # One canvas pixel is five source pixels.
    assert person.found and np.abs(person.box_xyxy - box).max() <= 5
    left, top, right, bottom = person.box_xyxy
    expected = POSE * [right - left, bottom - top] + [left, top]
    np.testing.assert_allclose(person.keypoints[:, :2], expected, atol=0.05)
    truth = np.zeros((360, 640), dtype=bool)
    truth[box[1] : box[3], box[0] : box[2]] = True
    assert (person.mask & truth).sum() / (person.mask | truth).sum() > 0.8
    assert person.mask is person.mask


def test_nobody(predictor, frame):
    person = predictor.predict(frame, "the blue woman")
    assert not person.found and person.score == pytest.approx(0.05)
    assert not person.mask.any() and person.mask.shape == (360, 640)


def test_timings(predictor, frame):
    timings = predictor.predict(frame, "red").timings
    assert tuple(timings) == STAGES and all(value > 0 for value in timings.values())


def test_a_prompt_is_encoded_once_and_the_cache_is_bounded(predictor, monkeypatch):
    runs = []
    original = predictor._text.infer
    monkeypatch.setattr(predictor._text, "infer", lambda inputs: runs.append(1) or original(inputs))
    monkeypatch.setattr("humar_edge.runtime.predictor.CACHED_PROMPTS", 2)
    first = predictor.encode("person in blue")
    assert predictor.encode("  person   in blue\n") is first and len(runs) == 1
    predictor.encode("blue one"), predictor.encode("blue two")
    assert predictor.encode("person in blue") is not first


def test_positional_prompts(predictor, frame):
    for prompt in (point_prompt((250, 200)), box_prompt((205, 110, 295, 330))):
        person = predictor.predict(frame, prompt)
        assert person.found and person.text == prompt.text and np.abs(person.box_xyxy - RED).max() <= 5
    with pytest.raises(PromptError, match="outside the frame of 640 x 360"):
        predictor.predict(frame, point_prompt((700, 10)))


def test_no_positional_engine(make_tiny_bundle, tmp_path, frame):
    with Predictor(make_tiny_bundle(tmp_path / "b", positional=False), threads=1) as predictor:
        with pytest.raises(BundleError, match="text prompts only"):
            predictor.predict(frame, point_prompt((250, 200)))


def test_a_long_prompt_is_cut_with_one_warning(predictor, frame, capsys):
    text = "the red person " + "in the " * 250
    assert predictor.predict(frame, text).found
    assert predictor.encode(text).truncated
    assert capsys.readouterr().err.count("longer than 32 tokens") == 1


def test_threshold(tiny_bundle, frame):
    with Predictor(Bundle.load(tiny_bundle), threads=1, score_threshold=0.97) as predictor:
        assert not predictor.predict(frame, "red").found
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Predictor(Bundle.load(tiny_bundle), score_threshold=1.5)


def test_an_untrained_bundle_warns(make_tiny_bundle, tmp_path, capsys):
    Predictor(make_tiny_bundle(tmp_path / "b", trained=False), threads=1).close()
    assert "untrained" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("size", [(64, 160), (128, 32)])
def test_rectangular_engines_and_one_pixel(make_tiny_bundle, tmp_path, colour_scene, backend, size):
    with Predictor(make_tiny_bundle(tmp_path / "b", input_size=size), backend, threads=1) as predictor:
        assert predictor.backend == backend
        person = predictor.predict(colour_scene((200, 300), {"blue": (50, 60, 150, 160)}), "blue")
        assert person.found and np.abs(person.box_xyxy - [50, 60, 150, 160]).max() <= 10
        person = predictor.predict(colour_scene((1, 1), {"red": (0, 0, 1, 1)}), "red")
        assert person.mask.shape == (1, 1) and person.mask.all()
        np.testing.assert_allclose(person.box_xyxy, [0, 0, 1, 1], atol=0.1)


def test_an_engine_that_contradicts_its_manifest(make_tiny_bundle, tmp_path):
    bundle = make_tiny_bundle(tmp_path / "b")
    other = Bundle(bundle.path, replace(bundle.manifest, input_size=(64, 64)))
    with pytest.raises(
        BundleError, match=r"'image' is uint8\[1, 96, 128, 3\], the manifest asks for uint8\[1, 64, 64, 3\]"
    ):
        Predictor(other, "onnxruntime", threads=1)


def test_an_engine_that_overflows_is_an_error_and_not_a_missing_person(predictor, frame):
    prompt, prepared = predictor.encode("red"), predictor.preprocess(frame)
    raw = {**predictor.infer(prepared, prompt), "score": np.array([np.nan], np.float32)}
    with pytest.raises(BackendError, match="returned score nan"):
        predictor.postprocess(raw, prepared, prompt)


@pytest.fixture
def counted_runs(make_tiny_bundle, tmp_path):
    """Opens a predictor on a fresh bundle; gives it and the engines' names in the order they ran."""

    def open_predictor(split):
        opener, runs = counting_opener()
        bundle = make_tiny_bundle(tmp_path / f"split-{split}", split=split)
        return Predictor(bundle, "onnxruntime", threads=1, opener=opener), runs

    return open_predictor


def test_several_prompts_share_the_features_of_a_picture(counted_runs, frame):
    texts = ["red", "the man in green", "the blue woman"]
    (shared, runs), (whole, whole_runs) = counted_runs(True), counted_runs(False)
    with shared, whole:
        found, expected = shared.predict_many(frame, texts), whole.predict_many(frame, texts)
        assert [run for run in runs if run != "text"] == ["features", "prompt", "prompt", "prompt"]
        assert [run for run in whole_runs if run != "text"] == ["vision"] * 3
        assert [person.text for person in found] == texts and [person.found for person in found] == [True, True, False]
        for one, other in zip(found, expected, strict=True):
            assert one.to_dict(mask=True) == other.to_dict(mask=True)
            assert tuple(one.timings) == STAGES and all(value > 0 for value in one.timings.values())
        with pytest.raises(PromptError, match="no prompt"):
            shared.predict_many(frame, [])


def test_one_text_prompt_and_positional_prompts_take_the_whole_engines(counted_runs, frame):
    predictor, runs = counted_runs(True)
    with predictor:
        predictor.predict_many(frame, ["red"])
        predictor.predict_many(frame, ["red", point_prompt((450, 200))])
        assert [run for run in runs if run != "text"] == ["vision", "vision", "positional"]
        runs.clear()
        point = point_prompt((450, 200))
        found = predictor.predict_many(frame, ["red", point, "green"])
        assert runs == ["text", "features", "prompt", "positional", "prompt"]
        assert [person.text for person in found] == ["red", point.text, "green"]
        np.testing.assert_allclose(found[1].box_xyxy, found[2].box_xyxy, atol=0.01)
