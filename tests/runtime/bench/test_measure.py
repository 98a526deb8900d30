"""Measuring real bundles on real backends and on TensorRT's double; times decide nothing here."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from humar_edge.bundle import Bundle
from humar_edge.errors import ConfigError
from humar_edge.results import Person
from humar_edge.runtime.bench import process
from humar_edge.runtime.bench.measure import NEW_PROMPTS_PER_ROUND, Plan, measure, sample_picture
from humar_edge.runtime.bench.subjects import Label, Subject, open_bundle

QUICK = Plan(iterations=6, seconds=0, warmup=2, rounds=3, frame_size=(90, 160))
CPU_STAGES = {"preprocess", "inference", "postprocess", "total", "encode", "total_new_prompt"}


def test_plans_that_measure_nothing_are_refused():
    for wrong in ({"iterations": 0}, {"seconds": -1}, {"warmup": 0}, {"rounds": 0}):
        with pytest.raises(ConfigError, match="at least one"):
            Plan(**wrong)
    with pytest.raises(ConfigError, match="nothing to measure"):
        measure([], QUICK)


def test_the_picture_has_the_size_asked_for():
    found = sample_picture((90, 161))
    assert (found.shape, found.dtype) == ((90, 161, 3), np.uint8)
    assert found.flags.c_contiguous and found.std() > 50


def test_two_backends_side_by_side(tiny_bundle):
    pytest.importorskip("onnxruntime")
    bundle = Bundle.load(tiny_bundle)
    rounds = []
    openers = [partial(open_bundle, bundle, name, 1) for name in ("openvino", "onnxruntime")]
    first, second = measure(openers, QUICK, lambda done, planned: rounds.append((done, planned)))
    assert rounds == [(1, 3), (2, 3), (3, 3)]
    assert (first.label.backend, second.label.backend) == ("openvino", "onnxruntime")
    assert first.label.version.startswith("20") and first.label.size == "96x128"
    for item in (first, second):
        assert set(item.stages) == CPU_STAGES
        assert item.stages["total"].count == 6
        assert item.stages["encode"].count == 3 * NEW_PROMPTS_PER_ROUND
        assert len(item.rounds) == 3
        parts = sum(item.stages[name].mean for name in ("preprocess", "inference", "postprocess"))
        assert item.stages["total"].mean == pytest.approx(parts)
        assert item.fps == pytest.approx(1000 / parts)
        assert item.memory["graph"]["total"] > 0 and "gpu" not in item.memory
    assert first.ratio is None and second.ratio is not None
    assert second.ratio.low <= second.ratio.value <= second.ratio.high


class Counting:
    """Stages that only count: which subject was run when."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.closed = name, log, False

    def encode(self, text):
        return text

    def preprocess(self, frame):
        self.log.append(self.name)
        return frame

    def infer(self, prepared, prompt):
        return {}

    def postprocess(self, raw, prepared, prompt):
        return Person(prompt, True, 1.0, np.zeros(4), np.zeros((17, 3)), (1, 1))

    def close(self):
        self.closed = True


def counting(name: str, log: list[str]) -> Subject:
    label = Label(name, name, "counting", "1", "fp32", (32, 32), "none", True)
    return Subject(label, Counting(name, log))


def test_subjects_take_turns_and_are_closed():
    log: list[str] = []
    subjects = [counting(name, log) for name in "AB"]
    found = measure([lambda: subjects[0], lambda: subjects[1]], QUICK)
    each = 2 + NEW_PROMPTS_PER_ROUND
    assert "".join(log) == "AABB" + ("A" * each + "B" * each) * 3
    assert all(subject.stages.closed for subject in subjects)
    assert [item.stages["total"].count for item in found] == [6, 6]


def test_seconds_add_rounds_until_they_are_reached():
    log: list[str] = []
    plan = Plan(iterations=1, seconds=0.02, warmup=2, rounds=2)
    (found,) = measure([lambda: counting("A", log)], plan)
    assert found.stages["total"].count * found.stages["total"].mean >= 20


def test_a_failure_closes_what_was_open():
    opened = counting("A", [])

    def broken():
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        measure([lambda: opened, broken], QUICK)
    assert opened.stages.closed


def test_tensorrt_splits_its_frame_and_measures_memory(gpu, tiny_bundle):
    (found,) = measure([partial(open_bundle, Bundle.load(tiny_bundle), "tensorrt")], QUICK)
    assert set(found.stages) == CPU_STAGES | {"h2d", "compute", "d2h", "enqueue"}
    assert found.stages["compute"].count == found.stages["total"].count
    memory = found.memory["gpu"]
    assert memory["device_total"] == memory["engine"] + memory["activations"] + memory["io"]
    assert found.engine_bytes == max(memory["device_total"], memory["device_peak"])
    assert "graph" not in found.memory
    assert found.label.backend == "tensorrt" and "CUDA" in found.label.device


def test_memory_of_the_process():
    now, peak = process.resident()
    assert 0 < now <= peak
    process.reset_peak()
    assert process.resident()[0] > 0
    assert process.cores() >= 1
    assert process.cpu_name()


def test_a_system_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "PROC", tmp_path / "absent")
    assert process.resident() == (0, 0)
    process.reset_peak()
    assert isinstance(process.cpu_name(), str)


def test_a_system_without_load_averages(monkeypatch):
    def unobtainable():
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(process.os, "getloadavg", unobtainable)
    assert process.load() is None
    monkeypatch.delattr(process.os, "getloadavg")
    assert process.load() is None


def test_the_name_of_a_board(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "PROC", tmp_path)
    (tmp_path / "device-tree").mkdir()
    (tmp_path / "device-tree" / "model").write_text("NVIDIA Jetson Orin Nano\0")
    assert process.cpu_name() == "NVIDIA Jetson Orin Nano"


def test_info_measures_memory_on_the_gpu(gpu, tiny_bundle):
    import json

    from click.testing import CliRunner

    from humar_edge.cli.info import command

    arguments = ["--model", str(tiny_bundle), "--gpu", "--vram", "4G"]
    found = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).stdout)
    memory = found["gpu_memory_bytes"]
    assert found["vram"]["bundle"]["engines"] == max(memory["device_total"], memory["device_peak"])
    assert "fits into 4.0 GiB (measured)" in CliRunner().invoke(command, arguments).output
