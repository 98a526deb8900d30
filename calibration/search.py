"""Greedy search for the fastest precision plan that is still right."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humar_edge.calibration.blocks import blocks_of
from humar_edge.calibration.images import feeds
from humar_edge.calibration.sensitivity import LEAST_GAIN, Damage, measure_sensitivity, ranked
from humar_edge.calibration.workbench import Measured, Workbench
from humar_edge.data.entries import Entry
from humar_edge.errors import ExportError
from humar_edge.export.engines import text_engine, vision_engine
from humar_edge.export.parity import torch_run
from humar_edge.export.plan import PLANS, Plan
from humar_edge.export.reduce import calibrated, caption_encoder, corrected
from humar_edge.export.source import Source
from humar_edge.export.to_onnx import to_onnx

if TYPE_CHECKING:
    import numpy as np
    import onnx

Say = Callable[[str], None]
Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

NAME = "auto"
METHOD = "percentile"
"""How INT8 ranges follow from what was seen, unless somebody says otherwise (as in `humar-edge export`)."""

CLOCK_NOISE = 0.01
"""Share of a time within which two times count as equal."""


@dataclass(frozen=True)
class Trial:
    """One plan that the search tried.

    Attributes:
        change: What it changed, for people.
        int8: Blocks in INT8.
        measured: Against FP32.
        passed: Whether it is within the limit.
    """

    change: str
    int8: tuple[str, ...]
    measured: Measured
    passed: bool

    def __str__(self) -> str:
        """One line."""
        drops = ", ".join(f"{name} {-drop:+.4f}" for name, drop in self.measured.drops.items())
        verdict = "passes" if self.passed else "fails"
        return (
            f"{self.change}: {len(self.int8)} blocks in INT8, {self.measured.milliseconds:.1f} ms, {drops}: {verdict}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        drops = {name: round(drop, 4) for name, drop in self.measured.drops.items()}
        milliseconds = round(self.measured.milliseconds, 3)
        return {
            "change": self.change,
            "int8": len(self.int8),
            "ms": milliseconds,
            "drops": drops,
            "passed": self.passed,
        }


@dataclass
class Found:
    """What the search found.

    Attributes:
        plan: The plan; FP32 (or FP16) throughout when INT8 is out of the limit, or saves no time.
        measured: Its figures; None when nothing is quantised.
        damages: Sensitivity of every block, most expensive first.
        trials: Every plan that was tried.
        reference: Metrics in FP32.
        prompts: How many prompts were measured.
        max_drop: The limit.
    """

    plan: Plan
    measured: Measured | None
    damages: list[Damage]
    trials: list[Trial]
    reference: dict[str, float]
    prompts: int
    max_drop: float
    setup: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The plan in the format of `humar_edge.export.plan`; the evidence is under `measured`, which plans ignore."""
        evidence = {
            **self.setup,
            "prompts": self.prompts,
            "max_drop": self.max_drop,
            "fp32": {name: round(value, 4) for name, value in self.reference.items()},
            "sensitivity": [damage.to_dict() for damage in self.damages],
            "trials": [trial.to_dict() for trial in self.trials],
        }
        if self.measured is not None:
            drops = {name: round(drop, 4) for name, drop in self.measured.drops.items()}
            times = {"ms": self.measured.milliseconds, "fp32_ms": self.measured.reference_milliseconds}
            evidence["plan"] = {"drops": drops, **{key: round(value, 3) for key, value in times.items()}}
        return {**self.plan.to_dict(), "measured": evidence}


def greedy(
    damages: Sequence[Damage],
    measure: Callable[[Plan], Measured],
    *,
    max_drop: float = 0.01,
    rest: str = "fp32",
    say: Say = lambda line: None,
) -> tuple[Plan, Measured | None, list[Trial]]:
    """Start with everything in INT8, then

    1. move the blocks that cost most per millisecond to float until the metrics pass;
    2. move back every one of them, largest gain first, that turns out not to be needed in float;
    3. move blocks that INT8 alone slows down to float, slowest first, as long as the whole gets faster.

    A plan that is no faster than float in the end is given up for float.

    Args:
        damages: Sensitivity of every block.
        measure: A plan's figures.
        max_drop: Largest loss of any metric.
        rest: Precision of what is not INT8: fp32 or fp16.
        say: Prints a line per trial.

    Returns:
        The plan, its figures (None: INT8 is out of the limit, or saves no time) and all trials.
    """
    order = ranked(damages)
    trials: list[Trial] = []

    def attempt(change: str, int8: Iterable[str]) -> Trial:
        chosen = set(int8)
        plan = _plan(damages, chosen, rest)
        found = measure(plan)
        trial = Trial(change, tuple(sorted(chosen)), found, found.passes(max_drop))
        trials.append(trial)
        say(str(trial))
        return trial

    inside = [damage.block for damage in order]
    moved: list[Damage] = []
    best = attempt("all", inside)
    while not best.passed and len(inside) > 1:
        moved.append(order[len(moved)])
        inside.remove(moved[-1].block)
        best = attempt(f"{moved[-1].block} to float", inside)
    if not best.passed:
        return Plan({}, rest, NAME), None, trials
    # The last one moved made the difference; the others may have been moved for nothing.
    for damage in sorted(moved[:-1], key=lambda item: -item.measured.gain):
        trial = attempt(f"{damage.block} back to INT8", [*best.int8, damage.block])
        if trial.passed and trial.measured.milliseconds <= best.measured.milliseconds:
            best = trial
    slow = [damage for damage in damages if damage.block in best.int8 and damage.measured.gain < -LEAST_GAIN]
    for damage in sorted(slow, key=lambda item: item.measured.gain):
        rest_of = [block for block in best.int8 if block != damage.block]
        trial = attempt(f"{damage.block} to float", rest_of) if rest_of else best
        if not trial.passed or not _faster(trial.measured.milliseconds, best.measured.milliseconds):
            break
        best = trial
    if not _faster(best.measured.milliseconds, best.measured.reference_milliseconds):
        times = best.measured
        say(f"INT8 saves no time here: {times.milliseconds:.1f} ms, FP32 {times.reference_milliseconds:.1f} ms")
        return Plan({}, rest, NAME), None, trials
    return _plan(damages, set(best.int8), rest), best.measured, trials


def search(
    source: Source,
    entries: Sequence[Entry],
    calibration: Sequence[Entry],
    *,
    max_drop: float = 0.01,
    model: onnx.ModelProto | None = None,
    method: str = METHOD,
    cache: Path | None = None,
    depth: int = 1,
    rest: str = "fp32",
    backend: str | None = None,
    threads: int | None = None,
    bar: Bar,
    say: Say,
) -> Found:
    """Measure every block of a network's vision engine, then search.

    Args:
        source: The network.
        entries: Prompts to measure on, not those that calibrate.
        calibration: Entries whose pictures calibrate INT8.
        max_drop: Largest loss of any of `humar_edge.evaluation.compare.LIMITED`.
        model: The vision engine in FP32; None exports it.
        method: A key of `humar_edge.calibration.statistics.METHODS`.
        cache: File of the calibrated ranges; None keeps none.
        depth: Size of blocks, see `blocks_of`.
        rest: Precision of what is not INT8: fp32 or fp16.
        backend: Of the runtime; None takes the best, or with FP16 on CPUs onnxruntime, which shows a part of its cost.
        threads: CPU threads.
        bar: Opens a progress bar: (title, total) -> context with a function to call after each step.
        say: Prints a line.

    Raises:
        ExportError: The engine holds nothing that INT8 could take.
        DataError: The entries cannot be measured.
    """
    if model is None:
        model = to_onnx(vision_engine(source))
    blocks = blocks_of(model, depth)
    if not blocks:
        raise ExportError("nothing to quantise: no block of the vision engine holds a convolution or linear layer")
    encode = caption_encoder(source, torch_run(text_engine(source)))
    plan = PLANS["int8"]

    def inputs(chosen: Sequence[Entry]) -> Iterator[Mapping[str, np.ndarray]]:
        return feeds(chosen, source.input_size, encode)

    ranges = calibrated(source, model, plan, calibration, inputs, cache, bar, say).values(method)
    shifts = corrected(model, plan, ranges, calibration, inputs, bar)
    backend = backend or (_half_backend() if rest == "fp16" else None)
    threshold = float(source.state.get("thresholds", {}).get("score", 0.5))
    with tempfile.TemporaryDirectory(prefix="humar-edge-", ignore_cleanup_errors=True) as scratch:
        with bar("measuring FP32", len(entries)) as step:
            bench = Workbench(
                model,
                entries,
                encode,
                source.input_size,
                Path(scratch),
                backend=backend,
                threads=threads,
                threshold=threshold,
                on_step=step,
            )
        with bench:
            present = sum(not entry.absent for entry in bench.entries)
            if max_drop * present < 1:
                say(f"warning: one of {present} prompts is worth {1 / present:.3f}, more than the limit; take more")
            say(f"FP32 on {len(bench.entries)} prompts: {_figures(bench.reference)}")
            with bar("one block at a time in INT8", len(blocks)) as step:
                damages = measure_sensitivity(bench, blocks, ranges, shifts, step)
            found, measured, trials = greedy(
                damages,
                lambda candidate: bench.measure(bench.build(candidate, ranges, shifts)),
                max_drop=max_drop,
                rest=rest,
                say=say,
            )
            setup = {"method": method, "calibration_images": len(calibration), "backend": bench.backend_name}
            return Found(found, measured, damages, trials, bench.reference, len(bench.entries), max_drop, setup)


def search_plan(
    source: Source,
    entries: Sequence[Entry],
    calibration: Sequence[Entry],
    *,
    max_drop: float = 0.01,
    bar: Bar,
    say: Say,
    **options: Any,
) -> Plan:
    """The plan alone, for `humar-edge export --precision auto`; see `search` for the options."""
    return search(source, entries, calibration, max_drop=max_drop, bar=bar, say=say, **options).plan


def _plan(damages: Sequence[Damage], int8: set[str], rest: str) -> Plan:
    # Blocks in float are written out as well, so that people see what they can change.
    return Plan({damage.block: "int8" if damage.block in int8 else rest for damage in damages}, rest, NAME)


def _faster(milliseconds: float, than: float) -> bool:
    return milliseconds < than * (1 - CLOCK_NOISE)


def _half_backend() -> str | None:
    from humar_edge.runtime.runners import available_backends

    return None if "tensorrt" in available_backends() else "onnxruntime"


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
