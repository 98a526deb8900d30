from __future__ import annotations

import time

import numpy as np

from humar_edge.demos.web.meter import SAMPLES, Meter
from humar_edge.results import Person
from humar_edge.runtime.pipeline import Result
from humar_edge.runtime.predictor import STAGES
from humar_edge.runtime.sources.base import Frame


def result(count: int = 2) -> Result:
    timings = {stage: 10.0 + place for place, stage in enumerate(STAGES)}
    person = Person("red", True, 0.9, np.zeros(4, np.float32), np.zeros((17, 3), np.float32), (8, 8), timings)
    return Result(Frame(0, 0.0, np.zeros((8, 8, 3), np.uint8), "clip"), [person] * count)


def test_a_sample_has_its_number_the_stages_its_age_and_the_rate() -> None:
    meter = Meter()
    meter.record(1, result())
    ((number, *values),) = meter.since(0)
    stages = dict(zip(STAGES, values, strict=False))
    assert number == 1 and len(values) == len(STAGES) + 2
    # Preparing the picture is shared by its prompts, the rest is done for each.
    for place, stage in enumerate(STAGES):
        assert stages[stage] == (10.0 if stage == "preprocess" else 2 * (10.0 + place))
    assert 0 <= values[-2] < 60_000 and values[-1] == 0.0


def test_only_newer_samples_and_only_the_last_ones() -> None:
    meter = Meter()
    for number in range(1, SAMPLES + 11):
        meter.record(number, result(1))
    assert [sample[0] for sample in meter.since(SAMPLES + 7)] == [SAMPLES + 8, SAMPLES + 9, SAMPLES + 10]
    assert len(meter.since(0)) == SAMPLES and meter.since(0)[0][0] == 11


def test_the_rate_starts_anew_with_a_source() -> None:
    meter = Meter()
    meter.record(1, result())
    time.sleep(0.01)
    meter.record(2, result())
    assert 0 < meter.fps <= 100.5
    meter.restart()
    assert meter.fps == 0.0 and len(meter.since(0)) == 2
