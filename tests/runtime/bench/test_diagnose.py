"""The diagnosis of made-up samples: each finding appears for its cause, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from humar_edge.runtime.bench.diagnose import Machine, diagnose

CALM = Machine(cores=4, load_before=0.3)


@pytest.fixture
def cpu(noise):
    """Samples of a healthy run on a CPU; replace stages with `cpu(inference=...)`."""

    def make(**stages):
        usual = {"preprocess": noise(1), "inference": noise(20), "postprocess": noise(1), "total": noise(22)}
        return {**usual, **stages}

    return make


@pytest.fixture
def gpu_samples(cpu, noise):
    def make(**stages):
        parts = {"h2d": noise(0.2), "compute": noise(5), "d2h": noise(0.1), "enqueue": noise(0.3)}
        return cpu(**{"inference": noise(6), **parts, **stages})

    return make


def names(samples, machine=CALM):
    return [finding.name for finding in diagnose(samples, machine)]


def test_a_healthy_run_has_no_findings(cpu, gpu_samples):
    assert names(cpu()) == names(gpu_samples()) == []
    assert names(cpu(), Machine(cores=4)) == []


def test_transfer_bound(gpu_samples, noise):
    assert names(gpu_samples(h2d=noise(3), d2h=noise(2.5))) == ["transfer-bound"]
    assert names(gpu_samples(h2d=noise(4.5))) == []


def test_enqueue_bound(gpu_samples, noise):
    (finding,) = diagnose(gpu_samples(enqueue=[7.0] * 300, compute=[5.0] * 300), CALM)
    assert finding.name == "enqueue-bound"
    assert "7.00 ms of the CPU, the network 5.00 ms" in finding.text


def test_host_bound(cpu, noise):
    assert names(cpu(preprocess=noise(15), postprocess=noise(8))) == ["host-bound"]


def test_unstable_clocks(cpu, gpu_samples, noise):
    jumping = np.where(np.arange(300) % 4 == 0, 30.0, 20.0)
    assert names(cpu(inference=jumping)) == ["unstable"]
    # On a GPU its own clock counts: a restless host does not make the GPU unstable.
    assert names(gpu_samples(inference=noise(6, spread=0.5))) == []
    assert names(gpu_samples(compute=jumping)) == ["unstable"]


def test_rare_slow_frames(cpu):
    values = np.full(300, 20.0)
    values[::60] = 90
    assert names(cpu(inference=values)) == ["rare-slow-frames"]


def test_trends(cpu, noise):
    heating = np.array(noise(20)) * np.repeat([1.0, 1.06, 1.14], 100)
    assert names(cpu(inference=heating)) == ["slows-down"]
    assert names(cpu(inference=heating[::-1])) == ["warm-up-too-short"]
    assert "trend" not in names(cpu(inference=noise(20, spread=0.08)))


def test_throttling_explains_a_trend(cpu, noise):
    heating = np.array(noise(20)) * np.repeat([1.0, 1.06, 1.14], 100)
    machine = Machine(4, 0.3, ("GPU: software thermal slowdown",))
    found = diagnose(cpu(inference=heating), machine)
    assert [finding.name for finding in found] == ["thermal-throttling"]
    assert "software thermal slowdown" in found[0].text


def test_busy_machine(cpu):
    assert names(cpu(), Machine(4, 2.1)) == ["busy-machine"]
    assert names(cpu(), Machine(4, 2.0)) == []


def test_few_samples_say_so_and_nothing_about_tails(cpu, noise):
    assert names(cpu(inference=[20.0, 90.0, 20.0])) == ["few-samples"]
