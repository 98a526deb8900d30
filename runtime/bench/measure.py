"""Measuring several subjects in turns, so that what changes on the machine touches all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from humar_edge.errors import ConfigError
from humar_edge.runtime.bench.diagnose import Finding, Machine, diagnose
from humar_edge.runtime.bench.power import Meter, cpu_throttle_events, open_meter
from humar_edge.runtime.bench.process import cores, load, reset_peak, resident
from humar_edge.runtime.bench.statistics import Ratio, Summary, side_by_side
from humar_edge.runtime.bench.subjects import Label, Subject

PROMPT = "the man in red"

FRAME_SIZE = (720, 1280)
"""Height and width of the picture that is fed, as from a usual camera."""

NEW_PROMPTS_PER_ROUND = 2


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        iterations: Frames at least.
        seconds: Seconds at least; a subject is done when it has both.
        warmup: Frames before, which do not count.
        rounds: Turns that the frames are spread over.
        frame_size: Height and width of the picture.
    """

    iterations: int = 200
    seconds: float = 3.0
    warmup: int = 20
    rounds: int = 20
    frame_size: tuple[int, int] = FRAME_SIZE

    def __post_init__(self) -> None:
        """Refuse plans that measure nothing."""
        if self.iterations < 1 or self.seconds < 0 or self.warmup < 1 or self.rounds < 1:
            raise ConfigError("bench needs at least one iteration, one warm-up frame and one round")


@dataclass
class Measured:
    """Everything that was found out about one subject.

    Attributes:
        label: What was measured.
        stages: Summary of milliseconds per stage: preprocess, inference, postprocess and total with the prompt cached,
            encode and total_new_prompt for a prompt that is new, and on a GPU h2d, compute, d2h, enqueue.
        rounds: Median total of every round, in milliseconds.
        fps: Frames per second, one after the other, prompt cached.
        memory: Bytes: process (now, peak, growth), gpu (measured) or graph (estimate).
        ratio: Total against the first subject; None for the first.
        watts: Mean power and who measured it; None where nothing can be read.
        findings: The diagnosis.
        on_gpu: Whether a GPU did the work.
    """

    label: Label
    stages: dict[str, Summary]
    rounds: list[float]
    fps: float
    memory: dict[str, dict[str, int]]
    ratio: Ratio | None = None
    watts: tuple[float, str] | None = None
    findings: list[Finding] = field(default_factory=list)
    on_gpu: bool = False

    @property
    def engine_bytes(self) -> int | None:
        """Bytes for a check against the GPU's memory: measured, else estimated; None when neither is known."""
        if gpu := self.memory.get("gpu"):
            return max(gpu["device_peak"], gpu["device_total"])
        return self.memory["graph"]["total"] if self.memory.get("graph") else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **{key: getattr(self.label, key) for key in Label.__dataclass_fields__},
            "input_size": list(self.label.input_size),
            "latency_ms": {stage: summary.to_dict() for stage, summary in self.stages.items()},
            "rounds_ms": [round(value, 4) for value in self.rounds],
            "fps": round(self.fps, 2),
            "ratio": vars(self.ratio) if self.ratio else None,
            "memory_bytes": {("graph_estimate" if k == "graph" else k): v for k, v in self.memory.items()},
            "power": {"watts": round(self.watts[0], 2), "source": self.watts[1]} if self.watts else None,
            "diagnosis": [vars(finding) for finding in self.findings],
        }


@dataclass
class _Run:
    """A subject on its way through the rounds."""

    subject: Subject
    memory: dict[str, dict[str, int]]
    chunk: int
    samples: dict[str, list[float]] = field(default_factory=dict)
    rounds: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    fresh: int = 0

    def add(self, times: dict[str, float]) -> None:
        for stage, value in times.items():
            self.samples.setdefault(stage, []).append(value)

    def short_of(self, plan: Plan) -> bool:
        total = self.samples.get("total", [])
        return len(total) < plan.iterations or sum(total) < plan.seconds * 1e3


def measure(
    openers: Sequence[Callable[[], Subject]], plan: Plan, on_round: Callable[[int, int], None] | None = None
) -> list[Measured]:
    """Open, warm up and measure subjects in turns: A B C, A B C, ...

    Args:
        openers: Each opens one subject; the first is the reference of the ratios.
        plan: How much.
        on_round: Called after every round with its number and how many are planned.
    """
    machine_load = load()
    picture = sample_picture(plan.frame_size)
    runs: list[_Run] = []
    meter: Meter | None = None
    try:
        for opener in openers:
            runs.append(_warm(opener, plan, picture))
        if not runs:
            raise ConfigError("nothing to measure")
        meter = open_meter("gpu" if any(run.subject.on_gpu for run in runs) else "cpu")
        events = cpu_throttle_events()
        done = 0
        while done < plan.rounds or any(run.short_of(plan) for run in runs):
            for run in runs:
                _round(run, picture, meter)
            done += 1
            if on_round:
                on_round(done, max(plan.rounds, done))
        heat = ["CPU: thermal throttle events"] if cpu_throttle_events() > events else []
        machine = Machine(cores(), machine_load, (*heat, *(meter.throttled() if meter else ())))
        return [_result(run, runs[0], machine, meter) for run in runs]
    finally:
        for run in runs:
            run.subject.close()
        if meter is not None:
            meter.close()


def sample_picture(size: tuple[int, int]) -> np.ndarray:
    """A coarse random pattern as uint8 BGR [H, W, 3]; what it shows does not matter for latency."""
    rows, columns = (-(-side // 16) for side in size)
    cells = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    return np.ascontiguousarray(cells.repeat(16, axis=0).repeat(16, axis=1)[: size[0], : size[1]])


def _warm(opener: Callable[[], Subject], plan: Plan, picture: np.ndarray) -> _Run:
    before = resident()[0]
    reset_peak()
    subject = opener()
    try:
        prompt = subject.stages.encode(PROMPT)
        totals = [_frame(subject, picture, prompt)["total"] for _ in range(plan.warmup)]
        now, peak = resident()
        memory = {"process": {"now": now, "peak": peak, "growth": max(now - before, 0)}}
        if subject.on_gpu:
            memory["gpu"] = subject.device_memory()
        else:
            memory["graph"] = subject.graph_memory()
    except BaseException:
        subject.close()
        raise
    usual = float(np.median(totals[len(totals) // 2 :]))
    wanted = max(plan.iterations, plan.seconds * 1e3 / max(usual, 1e-3))
    return _Run(subject, memory, ceil(wanted / plan.rounds))


def _round(run: _Run, picture: np.ndarray, meter: Meter | None) -> None:
    stages = run.subject.stages
    prompt = stages.encode(PROMPT)
    if meter:
        meter.begin()
    frames = [_frame(run.subject, picture, prompt) for _ in range(run.chunk)]
    watts = meter.end() if meter else None
    for times in frames:
        run.add(times)
    run.rounds.append(float(np.median([times["total"] for times in frames])))
    if watts is not None:
        run.watts.append(watts)
    for _ in range(NEW_PROMPTS_PER_ROUND):
        run.fresh += 1
        start = time.perf_counter()
        fresh = stages.encode(f"{PROMPT} {run.fresh}")
        encoded = 1e3 * (time.perf_counter() - start)
        run.add({"encode": encoded, "total_new_prompt": encoded + _frame(run.subject, picture, fresh)["total"]})


def _frame(subject: Subject, picture: np.ndarray, prompt: Any) -> dict[str, float]:
    """Milliseconds of one frame; the mask is decoded too, as for drawing."""
    stages = subject.stages
    clock = [time.perf_counter()]
    prepared = stages.preprocess(picture)
    clock.append(time.perf_counter())
    raw = stages.infer(prepared, prompt)
    clock.append(time.perf_counter())
    person = stages.postprocess(raw, prepared, prompt)
    if person.mask_source is not None:  # not `mask`, which is empty below the threshold
        person.mask_source()
    clock.append(time.perf_counter())
    parts = np.diff(clock) * 1e3
    names = ("preprocess", "inference", "postprocess")
    times = {name: float(value) for name, value in zip(names, parts, strict=True)}
    return {**times, "total": float(parts.sum()), **subject.gpu_split()}


def _result(run: _Run, reference: _Run, machine: Machine, meter: Meter | None) -> Measured:
    stages = {stage: Summary.of(values) for stage, values in run.samples.items()}
    return Measured(
        label=run.subject.label,
        stages=stages,
        rounds=run.rounds,
        fps=1e3 / stages["total"].mean,
        memory=run.memory,
        ratio=None if run is reference else side_by_side(run.rounds, reference.rounds),
        watts=(sum(run.watts) / len(run.watts), meter.name) if run.watts and meter else None,
        findings=diagnose(run.samples, machine),
        on_gpu=run.subject.on_gpu,
    )
