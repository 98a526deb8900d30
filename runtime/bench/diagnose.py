"""What the figures mean and what to do about it: bare numbers leave that to the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SPREAD = 0.15
"""(p90 - p50) / p50 of the inference above which latency is called unstable."""

RARE = 2.0
"""p99 / p50 above which single frames are called slow."""

DRIFT = 0.10
"""Change of the median from the first to the last third of a run above which there is a trend."""

FEWEST = 30
"""Below this many samples the tail and the trend say nothing."""


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        name: Short name, stable, for programs.
        text: What was seen and what to do.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Machine:
    """What the machine said during a measurement.

    Attributes:
        cores: Processors that this process may use.
        load_before: Load average before the measurement; None where the system has none.
        throttled: Reasons for which a processor lowered its clock meanwhile.
    """

    cores: int
    load_before: float | None = None
    throttled: tuple[str, ...] = ()


def diagnose(samples: Mapping[str, Sequence[float]], machine: Machine) -> list[Finding]:
    """All findings about one subject.

    Args:
        samples: Stage -> milliseconds in the order of measurement. `total`, `preprocess`, `inference`, `postprocess`
            always; on a GPU also `h2d`, `compute`, `d2h` and `enqueue`.
        machine: What the machine said.
    """
    medians = {stage: float(np.median(values)) for stage, values in samples.items() if len(values)}
    # On a GPU the device's own clock says more about stability than the host's.
    steady = np.asarray(samples["compute" if "compute" in medians else "inference"], dtype=np.float64)
    return [
        *_throttled(machine),
        *_busy(machine),
        *_gpu(medians),
        *_host(medians),
        *_unstable(steady),
        *_trend(steady, bool(machine.throttled)),
    ]


def _throttled(machine: Machine) -> list[Finding]:
    if not machine.throttled:
        return []
    reasons = ", ".join(machine.throttled)
    return [
        Finding(
            "thermal-throttling", f"the clock was lowered ({reasons}): improve cooling or choose a lower power mode"
        )
    ]


def _busy(machine: Machine) -> list[Finding]:
    load = machine.load_before
    if load is None or load <= machine.cores / 2:
        return []
    text = f"load average {load:.1f} on {machine.cores} cores before the start: other programs slow this down"
    return [Finding("busy-machine", f"{text}; trust ratios more than times, or repeat on an idle machine")]


def _gpu(medians: Mapping[str, float]) -> list[Finding]:
    if "compute" not in medians:
        return []
    findings = []
    transfer, compute = medians["h2d"] + medians["d2h"], medians["compute"]
    if transfer > compute:
        text = f"copies take {transfer:.2f} ms, the network {compute:.2f} ms: a smaller --imgsz, or fewer outputs, help"
        findings.append(Finding("transfer-bound", text))
    if medians["enqueue"] > compute:
        text = f"enqueueing takes {medians['enqueue']:.2f} ms of the CPU, the network {compute:.2f} ms of the GPU"
        findings.append(Finding("enqueue-bound", f"{text}: see that the CUDA graph is used, and the CPU's power mode"))
    return findings


def _host(medians: Mapping[str, float]) -> list[Finding]:
    around = medians.get("preprocess", 0.0) + medians.get("postprocess", 0.0)
    if around <= medians["inference"]:
        return []
    text = f"pre- and postprocessing take {around:.2f} ms, inference {medians['inference']:.2f} ms"
    return [Finding("host-bound", f"{text}: feed smaller frames; `run` overlaps the stages")]


def _unstable(values: np.ndarray) -> list[Finding]:
    if values.size < FEWEST:
        return [Finding("few-samples", f"{values.size} samples: p99 and stability need more --iterations")]
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    findings = []
    if (p90 - p50) / p50 > SPREAD:
        text = f"p90 is {p90 / p50:.2f} times the median: clocks change or other programs run"
        findings.append(
            Finding("unstable", f"{text}; fix the clocks (jetson_clocks, nvidia-smi -lgc, a fixed governor)")
        )
    elif p99 / p50 > RARE:
        findings.append(
            Finding("rare-slow-frames", f"p99 is {p99 / p50:.1f} times the median: something interrupts now and then")
        )
    return findings


def _trend(values: np.ndarray, explained: bool) -> list[Finding]:
    if values.size < FEWEST:
        return []
    third = values.size // 3
    first, last = values[:third], values[-third:]
    change = float(np.median(last) / np.median(first) - 1)
    # The medians of noise differ too: a trend leaves the middle half of where it came from.
    low, high = np.percentile(first, (25, 75))
    if low <= np.median(last) <= high:
        return []
    if change > DRIFT and not explained:
        text = f"the last third is {change:.0%} slower than the first, as when a processor gets hot"
        return [Finding("slows-down", f"{text}; watch temperatures and repeat with more --seconds")]
    if change < -DRIFT:
        return [Finding("warm-up-too-short", f"the last third is {-change:.0%} faster than the first: raise --warmup")]
    return []
