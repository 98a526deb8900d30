"""The pipeline with a real bundle: order, several prompts, failures, delay, memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from humar_edge.bundle import Bundle
from humar_edge.errors import PromptError, SourceError
from humar_edge.prompts import point_prompt
from humar_edge.runtime.pipeline import Pipeline
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.sources import Frame, LiveSource, Source
from humar_edge.runtime.sources.capture import Media

SIZE = (120, 160)


class Clip(Source):
    """A red rectangle that moves one pixel per frame."""

    def __init__(self, scene, count: int, *, still: bool = False, fail_at: int | None = None) -> None:
        self.name, self.total, self.still, self.fps = "clip", count, still, 30.0
        self._scene, self._fail_at, self.taken, self.closed = scene, fail_at, 0, False

    def frames(self):
        for index in range(self.total):
            if index == self._fail_at:
                raise SourceError("unplugged")
            self.taken += 1
            yield Frame(
                index, index / 30, self._scene(SIZE, {"red": self.box(index), "blue": (5, 5, 25, 45)}), self.name
            )

    @staticmethod
    def box(index: int) -> tuple[int, int, int, int]:
        return (60 + index % 60, 40, 80 + index % 60, 90)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    with Predictor(Bundle.load(tiny_bundle), "onnxruntime", threads=1) as predictor:
        yield predictor


def no_threads_left() -> bool:
    deadline = time.monotonic() + 3
    while any(t.name.startswith("humar-") for t in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_every_frame_in_order_with_every_prompt(predictor, colour_scene):
    source = Clip(colour_scene, 40)
    prompts = [predictor.encode(text) for text in ("the person in red", "the man in blue", "the man in green")]
    pipeline = Pipeline(source, predictor, prompts, smooth=False)
    results = list(pipeline)
    assert [r.frame.index for r in results] == list(range(40))
    for result in results:
        red, blue, green = result.persons
        assert np.allclose(red.box_xyxy, Clip.box(result.frame.index), atol=2)
        assert np.allclose(blue.box_xyxy, (5, 5, 25, 45), atol=2)
        assert (red.found, blue.found, green.found) == (True, True, False)
        assert set(red.timings) == {"preprocess", "inference", "postprocess"}
    summary = pipeline.statistics.to_dict()
    assert summary["frames"] == 40 and summary["dropped"] == 0 and summary["fps"] > 0
    assert summary["found"] == {"the person in red": 1, "the man in blue": 1, "the man in green": 0}
    assert list(summary["latency_ms"]["inference"]) == ["p50", "p90", "p99"]
    assert source.closed and no_threads_left()


def test_results_are_those_of_the_predictor(predictor, colour_scene):
    prompt = predictor.encode("red")
    for result in Pipeline(Clip(colour_scene, 5), predictor, [prompt], smooth=False):
        alone = predictor.predict(result.frame.image, prompt)
        assert np.array_equal(alone.box_xyxy, result.persons[0].box_xyxy)
        assert np.array_equal(alone.mask, result.persons[0].mask)


def test_split_engines_change_no_result(make_tiny_bundle, tmp_path, predictor, colour_scene):
    texts, point = ("red", "the man in blue", "green"), point_prompt((15, 25))

    def results(used):
        prompts = [*(used.encode(text) for text in texts), point]
        return list(Pipeline(Clip(colour_scene, 12), used, prompts, region_of_interest=True))

    with Predictor(make_tiny_bundle(tmp_path / "split", split=True), "onnxruntime", threads=1) as shared:
        for one, other in zip(results(shared), results(predictor), strict=True):
            assert [person.to_dict() for person in one.persons] == [person.to_dict() for person in other.persons]
        assert shared._split is not None


def test_source_that_fails_delivers_what_came_before(predictor, colour_scene):
    source, seen = Clip(colour_scene, 40, fail_at=7), []
    with pytest.raises(SourceError, match="unplugged"):
        for result in Pipeline(source, predictor, [predictor.encode("red")]):
            seen.append(result.frame.index)
    assert seen == list(range(7))
    assert source.closed and no_threads_left()


@pytest.mark.parametrize("stage", ["preprocess", "infer", "postprocess"])
def test_error_in_a_stage_is_raised_with_its_cause(predictor, colour_scene, monkeypatch, stage):
    def broken(*args):
        raise ZeroDivisionError(stage)

    monkeypatch.setattr(predictor, stage, broken)
    source = Clip(colour_scene, 400)
    with pytest.raises(ZeroDivisionError, match=stage):
        list(Pipeline(source, predictor, [predictor.encode("red")]))
    assert source.taken < 20 and source.closed and no_threads_left()


def test_error_of_the_reader_ends_everything(predictor, colour_scene):
    source = Clip(colour_scene, 100_000)
    results = iter(Pipeline(source, predictor, [predictor.encode("red")]))
    with pytest.raises(KeyboardInterrupt):
        next(results)
        results.throw(KeyboardInterrupt())
    assert source.closed and source.taken < 20 and no_threads_left()


def test_slow_sink_holds_the_source_back(predictor, colour_scene):
    source = Clip(colour_scene, 100)
    for result in Pipeline(source, predictor, [predictor.encode("red")]):
        time.sleep(0.02)
        # Three queues of two and one frame in each hand.
        assert source.taken - result.frame.index <= 11
        if result.frame.index == 30:
            break
    assert no_threads_left()


class FastCamera:
    """Thirty pictures a second."""

    media = Media(30.0, SIZE[::-1], None)

    def __init__(self, image):
        self._image, self._due = image, time.perf_counter()

    def read(self):
        self._due += 1 / 30
        time.sleep(max(self._due - time.perf_counter(), 0))
        return self._image

    def close(self):
        pass


@pytest.mark.parametrize("sink_s", [0.0, 0.05])
def test_live_result_is_never_older_than_two_inferences(predictor, colour_scene, monkeypatch, sink_s):
    inference_s = 0.2
    infer = predictor.infer

    def slow(prepared, prompt):
        time.sleep(inference_s)
        return infer(prepared, prompt)

    monkeypatch.setattr(predictor, "infer", slow)
    image = colour_scene(SIZE, {"red": (60, 40, 80, 90)})
    with LiveSource("camera", lambda: FastCamera(image)) as source:
        pipeline, ages, indices = Pipeline(source, predictor, [predictor.encode("red")]), [], []
        for result in pipeline:
            ages.append(time.perf_counter() - result.frame.captured)
            indices.append(result.frame.index)
            time.sleep(sink_s)
            if len(ages) == 12:
                break
    assert max(ages) <= 2 * inference_s
    assert indices == sorted(set(indices)) and pipeline.statistics.dropped >= 15
    assert no_threads_left()


def test_region_of_interest_finds_the_same(predictor, colour_scene, monkeypatch):
    areas = []
    preprocess = predictor.preprocess
    monkeypatch.setattr(predictor, "preprocess", lambda image: areas.append(image.shape[:2]) or preprocess(image))
    prompt = predictor.encode("red")
    results = list(Pipeline(Clip(colour_scene, 40), predictor, [prompt], smooth=False, region_of_interest=True))
    assert len(results) == 40
    assert areas[0] == SIZE and areas[1] != SIZE and SIZE in areas[2:]
    for result in results:
        (red,) = result.persons
        assert red.found and red.frame_size == SIZE
        assert np.allclose(red.box_xyxy, Clip.box(result.frame.index), atol=2)
        inside = red.mask[40:90, slice(*np.array(Clip.box(result.frame.index))[[0, 2]])]
        assert inside.mean() > 0.8 and red.mask.sum() < 1.5 * 20 * 50


def test_point_prompt_follows_the_person(predictor, colour_scene):
    results = list(Pipeline(Clip(colour_scene, 50), predictor, [point_prompt((70, 65))], smooth=False))
    assert np.allclose(results[-1].persons[0].box_xyxy, Clip.box(49), atol=2)
    assert results[-1].persons[0].text == "point (70, 65)"


def test_point_outside_the_frame_is_a_clear_error(predictor, colour_scene):
    with pytest.raises(PromptError, match="outside the frame"):
        list(Pipeline(Clip(colour_scene, 5), predictor, [point_prompt((700, 65))]))


def test_prompt_changes_while_running(predictor, colour_scene):
    pipeline = Pipeline(Clip(colour_scene, 60), predictor, [predictor.encode("red")])
    texts = []
    for result in pipeline:
        texts.append(result.persons[0].text)
        if result.frame.index == 10:
            pipeline.set_prompts([predictor.encode("blue")])
    assert texts[:10] == ["red"] * 10 and texts[-1] == "blue"
    # Frames on their way keep their prompt: the two queues behind the change, and those in hand.
    assert texts.count("red") <= 11 + 4
    with pytest.raises(PromptError, match="no prompt"):
        pipeline.set_prompts([])


def test_still_pictures_are_not_smoothed(predictor, colour_scene):
    source = Clip(colour_scene, 10, still=True)
    for result in Pipeline(source, predictor, [predictor.encode("red")]):
        assert np.allclose(result.persons[0].box_xyxy, Clip.box(result.frame.index), atol=2)
        assert result.persons[0].track is None


def test_many_frames_leave_memory_threads_and_files_alone(predictor, colour_scene):
    resource = pytest.importorskip("resource")
    os_listdir = pytest.importorskip("os").listdir
    prompt = predictor.encode("red")

    def run(count: int) -> tuple[int, int]:
        for _ in Pipeline(Clip(colour_scene, count), predictor, [prompt]):
            pass
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(os_listdir("/proc/self/fd"))

    before, files = run(200)
    after, files_after = run(1500)
    assert after <= before * 1.05 and files_after <= files
    assert no_threads_left()
