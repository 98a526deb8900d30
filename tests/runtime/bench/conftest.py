"""Made-up results, and the GPU of host memory."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from humar_edge.runtime.bench.diagnose import Finding
from humar_edge.runtime.bench.measure import Measured
from humar_edge.runtime.bench.statistics import Ratio, Summary
from humar_edge.runtime.bench.subjects import Label
from humar_edge.runtime.memory import MIB


@pytest.fixture
def result() -> Callable[..., Measured]:
    """`result(backend="openvino", precision="fp32", trained=True, gpu=False)` -> what measuring would have found."""

    def make(backend: str = "openvino", precision: str = "fp32", trained: bool = True, gpu: bool = False) -> Measured:
        device = "NVIDIA GeForce RTX 3060" if gpu else "Intel(R) Xeon(R) CPU @ 2.20GHz"
        label = Label("small", "edge-lite", backend, "1.2.3", precision, (384, 640), device, trained)
        stages = ["preprocess", "inference", "postprocess", "encode", "total_new_prompt"]
        stages += ["h2d", "compute", "d2h", "enqueue"] if gpu else []
        summaries = {stage: Summary.of([1.0, 2.0, 3.0]) for stage in stages}
        summaries["total"] = Summary.of([10.0, 20.0, 30.0])
        memory = {"process": {"now": 300 * MIB, "peak": 400 * MIB, "growth": 100 * MIB}}
        if gpu:
            parts = ("engine", "activations", "io", "pinned", "device_total", "device_peak")
            memory["gpu"] = {name: (i + 1) * 10 * MIB for i, name in enumerate(parts)}
        else:
            memory["graph"] = {"weights": 20 * MIB, "activations": 5 * MIB, "io": MIB, "total": 26 * MIB}
        return Measured(label, summaries, [20.0, 20.0], 50.0, memory, on_gpu=gpu)

    return make


@pytest.fixture
def pair(result) -> list[Measured]:
    """A CPU result and one of a GPU with ratio, power and a finding."""
    second = result("tensorrt", "fp16", trained=False, gpu=True)
    second.ratio, second.watts = Ratio(0.5, 0.45, 0.55), (12.34, "nvidia-smi")
    second.findings = [Finding("transfer-bound", "copies take long")]
    return [result(), second]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The GPU with doubles of TensorRT and cuda-python; the test fails when it leaks or broke a rule of CUDA.

    Sensors of the machine that runs the test, nvidia-smi for one, know nothing of this GPU and are left out.
    """
    pytest.importorskip("onnxruntime")
    import doubles

    from humar_edge.runtime.bench import power

    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "cache"))
    for name in ("HUMAR_EDGE_CUDA", "HUMAR_EDGE_PLUGIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(power, "SYS", tmp_path / "no-sensors")
    monkeypatch.setattr(power, "METERS", {"gpu": (), "cpu": ()})
    found = doubles.install(monkeypatch, tmp_path)
    yield found
    gc.collect()
    problems = found.problems()
    doubles.forget()
    assert problems == []


@pytest.fixture
def noise() -> Callable[..., list[float]]:
    """`noise(ms, count=300, spread=0.01)`: times around a value."""

    def make(ms: float, count: int = 300, spread: float = 0.01) -> list[float]:
        return list(np.random.default_rng(0).normal(ms, ms * spread, count))

    return make
