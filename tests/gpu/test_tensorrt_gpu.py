"""What can only be shown on an NVIDIA GPU: `make gpu-check`. Skipped everywhere else.

Set HUMAR_EDGE_GPU_BUNDLE to a bundle to check its engines instead of those of the embedded bundle, and
HUMAR_EDGE_GPU_REPORT to a file that gets the figures as JSON.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2, "int8": 1e-1}
"""Largest difference to onnxruntime of values in [0, 1], per precision; TF32 is on."""


@pytest.fixture(scope="module", autouse=True)
def machine():
    from humar_edge.runtime.tensorrt import why_not

    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def report():
    """Figures of this run, written at the end."""
    from humar_edge.runtime.doctor import as_dict, examine

    figures: dict = {"doctor": as_dict(examine()), "engines": {}}
    yield figures
    if target := os.environ.get("HUMAR_EDGE_GPU_REPORT"):
        Path(target).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def bundle():
    from humar_edge.bundle import Bundle, default_bundle_path
    from humar_edge.errors import BundleError

    try:
        return Bundle.load(os.environ.get("HUMAR_EDGE_GPU_BUNDLE") or default_bundle_path())
    except BundleError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["text", "vision"])
def engine(request, bundle):
    return bundle.text_engine if request.param == "text" else bundle.vision_engine


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    from humar_edge.runtime.tensorrt.cache import EngineCache

    return EngineCache(tmp_path_factory.mktemp("cache"))


def feed(specs, seed: int) -> dict[str, np.ndarray]:
    """Inputs like those of a frame: pictures of any byte, token numbers that every vocabulary has, masks of ones."""
    rng = np.random.default_rng(seed)

    def array(name, spec):
        if "mask" in name:
            return np.ones(spec.shape, spec.dtype)
        if spec.dtype.kind in "iu":
            return rng.integers(0, 256 if spec.dtype == np.uint8 else 10, spec.shape).astype(spec.dtype)
        return rng.random(spec.shape, np.float32).astype(spec.dtype)

    return {name: array(name, spec) for name, spec in specs.items()}


def comparable(name: str, values: np.ndarray) -> np.ndarray:
    """Mask logits as probabilities: a difference far from the border means nothing."""
    return 1 / (1 + np.exp(-values.astype(np.float64))) if name == "mask" else values.astype(np.float64)


def test_equals_onnxruntime(engine, cache, report):
    pytest.importorskip("onnxruntime")
    from humar_edge.runtime.runners.onnxruntime import ONNXRuntimeRunner
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner
    from humar_edge.runtime.tensorrt.onnx_scan import scan_onnx

    tolerance = TOLERANCE[scan_onnx(engine).precision]
    differences: dict[str, float] = {}
    with TensorRTRunner(engine, cache=cache) as gpu, ONNXRuntimeRunner(engine) as cpu:
        for seed in range(5):
            inputs = feed(gpu.input_specs, seed)
            expected = cpu.infer(inputs)
            for name, got in gpu.infer(inputs).items():
                error = float(np.abs(comparable(name, got) - comparable(name, expected[name])).max())
                differences[name] = max(differences.get(name, 0.0), error)
    report["engines"].setdefault(engine.name, {})["largest_difference"] = differences
    assert max(differences.values()) <= tolerance, differences


def test_graph_equals_direct_run_and_timings_add_up(engine, cache, report):
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    figures = report["engines"].setdefault(engine.name, {})
    outputs = []
    for graph in (True, False):
        with TensorRTRunner(engine, cache=cache, cuda_graph=graph, timing=True) as runner:
            inputs = feed(runner.input_specs, 0)
            for _ in range(20):
                runner.infer(inputs)
            frames = []
            for _ in range(100):
                outputs_now = runner.infer(inputs)
                frames.append(dict(runner.timings))
            outputs.append(outputs_now)
            medians = {name: float(np.median([frame[name] for frame in frames])) for name in frames[0]}
            figures["graph" if graph else "direct"] = medians
            figures["graph_problem"] = figures.get("graph_problem") or (runner.graph_problem if graph else "")
            figures["memory"] = vars(runner.memory())
            parts = medians["h2d_ms"] + medians["compute_ms"] + medians["d2h_ms"]
            assert parts <= medians["total_ms"] * 1.1 + 0.1
    for name, values in outputs[0].items():
        np.testing.assert_allclose(values, outputs[1][name], rtol=1e-3, atol=1e-3)


def test_cuda_graph_is_recorded(engine, cache):
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    with TensorRTRunner(engine, cache=cache) as runner:
        if "PyCUDA" in runner.graph_problem:
            pytest.skip(runner.graph_problem)
        assert runner.uses_graph, runner.graph_problem


def test_second_start_uses_the_cache(engine, cache, report):
    from humar_edge.runtime.device import open_device
    from humar_edge.runtime.tensorrt.builder import EngineBuilder

    EngineBuilder(engine, open_device(), cache=cache).engine()
    started = time.perf_counter()
    again = EngineBuilder(engine, open_device(), cache=cache).engine()
    report["engines"].setdefault(engine.name, {})["build"] = again.metadata
    assert not again.built
    assert time.perf_counter() - started < 10


def test_memory_does_not_grow(engine, cache):
    from humar_edge.runtime.device import open_device
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner

    device = open_device()
    free = []
    for _ in range(4):
        with TensorRTRunner(engine, cache=cache, device=device) as runner:
            inputs = feed(runner.input_specs, 0)
            for _ in range(50):
                runner.infer(inputs)
        with device.active():
            free.append(device.memory()[0])
    assert free[-1] >= free[1] - (16 << 20)


def test_options_build_and_run(bundle, tmp_path):
    from humar_edge.runtime.device import open_device
    from humar_edge.runtime.runners.tensorrt import TensorRTRunner
    from humar_edge.runtime.tensorrt.cache import EngineCache
    from humar_edge.runtime.tensorrt.options import BuildOptions

    device = open_device()
    with device.active():
        integrated = device.info().integrated
    options = BuildOptions(
        workspace_mb=256, optimization_level=1, version_compatible=True, hardware_compatible=not integrated, tf32=False
    )
    with TensorRTRunner(bundle.text_engine, options=options, cache=EngineCache(tmp_path), device=device) as runner:
        assert runner.infer(feed(runner.input_specs, 0))
