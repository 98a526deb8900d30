"""A bundle on TensorRT's double: the choice of backend, its engines, and the checks that are meant for a real GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_tensorrt_is_chosen_when_it_and_a_gpu_are_there(gpu):
    from humar_edge.runtime.runners import available_backends, choose_backend

    assert choose_backend() == "tensorrt"
    gpu.devices = 0
    assert "tensorrt" not in available_backends()


def test_forced_backend_fails_loudly(gpu, small):
    from humar_edge.errors import BackendError
    from humar_edge.runtime.runners import open_runner

    gpu.devices = 0
    with pytest.raises(BackendError, match=r"no CUDA device: .*cudaErrorInsufficientDriver"):
        open_runner(small, "tensorrt")


def test_bundle_engines_equal_onnxruntime(gpu, tiny_bundle):
    from humar_edge.bundle import Bundle
    from humar_edge.runtime.runners import open_runner

    bundle = Bundle.load(tiny_bundle)
    rng = np.random.default_rng(1)
    for engine in (bundle.text_engine, bundle.vision_engine, bundle.positional_engine):
        with open_runner(engine, "tensorrt") as runner, open_runner(engine, "onnxruntime") as reference:
            assert runner.input_specs == reference.input_specs
            inputs = {
                name: rng.integers(0, 2, spec.shape).astype(spec.dtype) for name, spec in runner.input_specs.items()
            }
            expected = reference.infer(inputs)
            for name, got in runner.infer(inputs).items():
                np.testing.assert_array_equal(got, expected[name])
                assert got.dtype == expected[name].dtype


PROGRAM = """
import sys
from pathlib import Path
import pytest
sys.path.insert(0, {support!r})
import doubles
doubles.install(pytest.MonkeyPatch(), Path({directory!r}))
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", {tests!r}]))
"""


@pytest.mark.slow
def test_the_gpu_checks_themselves_run(tiny_bundle, tmp_path):
    """`make gpu-check` is only ever run elsewhere: against the double it must at least execute and pass."""
    support, tests = str(ROOT / "tests" / "support"), str(ROOT / "tests" / "gpu")
    code = PROGRAM.format(support=support, directory=str(tmp_path), tests=f"{tests}/test_tensorrt_gpu.py")
    report = tmp_path / "report.json"
    variables = {"HUMAR_EDGE_GPU_BUNDLE": str(tiny_bundle), "HUMAR_EDGE_GPU_REPORT": str(report)}
    environment = {**os.environ, **variables, "HUMAR_EDGE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "11 passed" in done.stdout
    assert report.is_file()
