"""Two models on the same pictures and prompts: outputs, metrics and latency side by side, in one run."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge import __version__
from humar_edge.bundle import MANIFEST, VISION_ENGINE
from humar_edge.data.entries import Entry
from humar_edge.evaluation.boxes import box_iou
from humar_edge.evaluation.differences import OutputDifferences
from humar_edge.evaluation.evaluator import Evaluator, Outcome
from humar_edge.evaluation.masks import mask_iou
from humar_edge.evaluation.predictors import FramePredictor
from humar_edge.evaluation.recorder import Recorder
from humar_edge.evaluation.run import evaluate, require_some

SCHEMA_VERSION = 1
SAME_PERSON = 0.5
"""Box IoU from which two models point at the same person."""
CONFIDENCE = 1.96
"""Standard errors in a 95% interval."""


@dataclass(frozen=True)
class Figure:
    """One task metric, higher is better.

    Attributes:
        read: Summary of an evaluator -> value, None when the data have none.
        per_entry: Outcome -> its share of the metric, for metrics that are means over entries.
        limited: Whether the limit of a drop applies to it; others are reported.
    """

    read: Callable[[Mapping[str, Any]], float | None]
    per_entry: Callable[[Outcome], float | None] | None = None
    limited: bool = True


FIGURES: dict[str, Figure] = {
    "OKS-AP": Figure(lambda s: s["overall"] and s["overall"]["pose"]["AP"]),
    "Acc@0.5": Figure(lambda s: s["overall"] and s["overall"]["box_Acc@0.5"], lambda o: float(o.box_iou >= 0.5)),
    "mIoU": Figure(
        lambda s: s["overall"] and s["overall"]["mask"] and s["overall"]["mask"]["mIoU"],
        lambda o: mask_iou(*o.overlap) if o.overlap else None,
    ),
    "mean OKS": Figure(lambda s: s["overall"] and s["overall"]["mean_oks"], lambda o: o.oks, limited=False),
    "AUROC": Figure(lambda s: s["presence"] and s["presence"]["AUROC"], limited=False),
}
"""What is compared: name -> where it comes from."""
LIMITED = tuple(name for name, figure in FIGURES.items() if figure.limited)
"""What may not drop."""


def figures_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The `FIGURES` of an evaluator's summary, without those that the data do not give."""
    found = {name: figure.read(summary) for name, figure in FIGURES.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


@dataclass
class Pair:
    """Predictions of both models for one entry.

    Attributes:
        a: Outcome of the reference.
        b: Outcome of the other model.
        worst: Largest difference by output.
    """

    a: Outcome
    b: Outcome
    worst: dict[str, float]

    @property
    def loss(self) -> float:
        """What B lost against A: mean overlap for present people, the score's move to "present" for absent ones."""
        if self.a.entry.absent:
            return self.b.score - self.a.score
        return self.a.quality - self.b.quality


@dataclass
class Comparison:
    """Everything that was measured.

    Attributes:
        evaluators: of A and of B.
        differences: of the raw outputs.
        pairs: entry by entry.
        skipped: reason -> number of entries left out.
        max_drop: what a figure may lose.
    """

    evaluators: tuple[Evaluator, Evaluator]
    max_drop: float
    differences: OutputDifferences = field(default_factory=OutputDifferences)
    pairs: list[Pair] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, dict[str, Any]]:
        """Per metric `a`, `b`, `drop` (a - b), `interval` (half width of its 95% interval, over entries), `passed`.

        `passed` is None for metrics that the limit does not apply to.
        """
        both = [figures_of(evaluator.summary()) for evaluator in self.evaluators]
        found: dict[str, dict[str, Any]] = {}
        for name, figure in FIGURES.items():
            if not all(name in figures for figures in both):
                continue
            a, b = (figures[name] for figures in both)
            # Rounding, so that a drop of exactly the limit passes.
            passed = round(a - b, 9) <= self.max_drop if figure.limited else None
            found[name] = {"a": a, "b": b, "drop": a - b, "interval": self._interval(figure), "passed": passed}
        return found

    @property
    def passed(self) -> bool:
        """Whether no limited figure dropped by more than the limit, and B gave no NaN that A did not give."""
        broken = self.evaluators[1].not_finite > self.evaluators[0].not_finite
        return not broken and all(figure["passed"] is not False for figure in self.figures().values())

    def document(self, setup: Mapping[str, Any]) -> dict[str, Any]:
        """The result, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "humar_edge": __version__,
            "machine": platform.machine(),
            "setup": dict(setup),
            "entries": len(self.pairs),
            "passed": self.passed,
            "max_drop": self.max_drop,
            "metrics": self.figures(),
            "outputs": self.differences.summary(),
            "not_compared": dict(self.differences.incomparable),
            "same_person": self.agreement(),
            "latency_ms": self.latency(),
            "skipped": dict(self.skipped.most_common()),
            "worst": [_line(pair) for pair in self.worst(20)],
        }

    def agreement(self) -> float | None:
        """Share of present entries for which both models point at the same person."""
        overlaps = [box_iou(pair.a.box_xyxy, pair.b.box_xyxy) for pair in self.pairs if not pair.a.entry.absent]
        return float(np.mean(np.array(overlaps) >= SAME_PERSON)) if overlaps else None

    def latency(self) -> dict[str, Any] | None:
        """p50, p90, mean of the inference stage of both, and `speedup`: the median of a / b entry by entry."""
        a, b = (np.array(evaluator.times_ms) for evaluator in self.evaluators)
        if not len(a) or len(a) != len(b):
            return None
        stages = {
            name: {"p50": float(np.median(t)), "p90": float(np.percentile(t, 90)), "mean": float(t.mean())}
            for name, t in (("a", a), ("b", b))
        }
        return {**stages, "speedup": float(np.median(a / np.maximum(b, 1e-6)))}

    def worst(self, count: int) -> list[Pair]:
        """Entries where B lost most, one of each picture, worst first; entries without a loss are left out."""
        first: dict[Path, Pair] = {}
        for pair in sorted(self.pairs, key=lambda pair: -pair.loss):
            if pair.loss > 0:
                first.setdefault(pair.a.entry.image_path, pair)
        return list(first.values())[:count]

    def _interval(self, figure: Figure) -> float | None:
        if figure.per_entry is None:
            return None
        drops = []
        for pair in self.pairs:
            if not pair.a.entry.absent:
                a, b = figure.per_entry(pair.a), figure.per_entry(pair.b)
                if a is not None and b is not None:
                    drops.append(a - b)
        if len(drops) < 2:
            return None
        return float(CONFIDENCE * np.std(drops, ddof=1) / np.sqrt(len(drops)))


def compare_predictors(
    a: FramePredictor,
    b: FramePredictor,
    entries: Sequence[Entry],
    *,
    max_drop: float = 0.01,
    keep_masks: bool = False,
    on_step: Callable[[], None] | None = None,
) -> Comparison:
    """Run two models on the same entries with text prompts, in turns, so that a busy machine slows both.

    Args:
        a: The reference.
        b: The other model.
        entries: What to predict.
        max_drop: Largest loss of any of `LIMITED`.
        keep_masks: Whether outcomes keep masks, for pictures.
        on_step: Called after every entry.

    Raises:
        DataError: No entry could be used.
    """
    first, second = Evaluator(a.threshold, keep_masks), Evaluator(b.threshold, keep_masks)
    result = Comparison((first, second), max_drop)
    with Recorder(a) as left, Recorder(b) as right:
        sides = [(left, first), (right, second)]
        _warm_up(sides, entries)
        for number, entry in enumerate(entries):
            # Who goes second finds warm caches: take turns.
            for recorder, evaluator in sides if number % 2 else sides[::-1]:
                skipped = evaluate(recorder, [entry], evaluator)
            result.skipped += skipped
            if not skipped:
                worst = result.differences.update(left.outputs, right.outputs)
                result.pairs.append(Pair(first.outcomes[-1], second.outcomes[-1], worst))
            if on_step is not None:
                on_step()
    require_some(entries, result.skipped)
    return result


def fitting_backend(models: Sequence[Path]) -> str | None:
    """`onnxruntime` when OpenVINO does not fit a bundle and there is no GPU, else None (the best available backend).

    On CPUs it computes FP16 graphs in FP32 and would hide what half precision costs, of which onnxruntime shows a part;
    and it does not read the function that stands for the deformable-attention plugin.
    """
    from humar_edge.runtime.runners import available_backends

    if "tensorrt" in available_backends():
        return None
    return "onnxruntime" if any(_half(model) or _has_plugin(model) for model in models) else None


def backend_of(model: Path, backend: str | None) -> str | None:
    """The backend for one of two models: a checkpoint always runs in PyTorch."""
    return backend if (model / MANIFEST).is_file() else None


def _half(model: Path) -> bool:
    try:
        manifest = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
        name = manifest["precision"]["vision"]
        plan = manifest.get("parity", {}).get("vision", {}).get(name, {}).get("plan", {})
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False  # a checkpoint, or a bundle whose damage is reported when it is opened
    return "fp16" in str(name) or "fp16" in (plan.get("default"), *plan.get("blocks", {}).values())


def _has_plugin(model: Path) -> bool:
    from humar_edge.export.deform_attn import OP_TYPE

    try:
        return OP_TYPE.encode() in (model / VISION_ENGINE).read_bytes()
    except OSError:
        return False


def _warm_up(sides: Sequence[tuple[Recorder, Evaluator]], entries: Sequence[Entry]) -> None:
    for recorder, _ in sides:
        evaluate(recorder, entries[:1], Evaluator(recorder.threshold))


def _line(pair: Pair) -> dict[str, Any]:
    entry = pair.a.entry
    figures = {side: _short(outcome) for side, outcome in (("a", pair.a), ("b", pair.b))}
    return {"id": entry.id, "image": entry.image_path.name, "caption": entry.caption, "loss": pair.loss, **figures}


def _short(outcome: Outcome) -> dict[str, Any]:
    if outcome.entry.absent:
        return {"score": outcome.score}
    mask = mask_iou(*outcome.overlap) if outcome.overlap else None
    return {"score": outcome.score, "oks": outcome.oks, "box_iou": outcome.box_iou, "mask_iou": mask}
