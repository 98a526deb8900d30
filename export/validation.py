"""Task metrics of two bundles on the same prompts, and the decision whether the second lost too much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from humar_edge.bundle import Bundle
from humar_edge.data.refhuman import Entry
from humar_edge.errors import ExportError
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.run import evaluate
from humar_edge.runtime.predictor import Predictor

Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

FIGURES: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "Acc@0.5": lambda overall: overall["box_Acc@0.5"],
    "mean_oks": lambda overall: overall["mean_oks"],
    "mIoU": lambda overall: (overall["mask"] or {}).get("mIoU"),
}
"""What may not drop: name -> how it is read from the overall figures."""

BACKENDS = {"fp16": "onnxruntime"}
"""Backend by precision; OpenVINO on CPUs computes FP16 graphs in FP32 and would hide what half costs."""


def measure(bundle: Bundle, entries: Sequence[Entry], bar: Bar) -> dict[str, Any]:
    """Metrics of a bundle with text prompts.

    Returns:
        `Acc@0.5`, `mean_oks`, `mIoU`, `AUROC` and `backend`.
    """
    backend = BACKENDS.get(bundle.manifest.precision.get("vision", ""))
    evaluator = Evaluator(threshold=bundle.manifest.thresholds["score"])
    with (
        Predictor(bundle, backend, threads=2) as predictor,
        bar(f"validating {bundle.manifest.precision['vision']}", len(entries)) as step,
    ):
        evaluate(predictor, entries, evaluator, "text", step)
        used = predictor.backend
    summary = evaluator.summary()
    if not summary["overall"]:
        raise ExportError("the validation data holds no prompt whose person is present")
    found = {name: _rounded(read(summary["overall"])) for name, read in FIGURES.items()}
    return {
        **found,
        "AUROC": _rounded((summary["presence"] or {}).get("AUROC")),
        "backend": used,
    }


def require_accuracy(reference: Mapping[str, Any], reduced: Mapping[str, Any], max_drop: float) -> None:
    """Raise an ExportError when a figure of the reduced bundle is more than `max_drop` below the reference."""
    drops = {
        name: reference[name] - reduced[name]
        for name in FIGURES
        if reference.get(name) is not None and reduced.get(name) is not None
    }
    over = [f"{name} {reference[name]:.4f} -> {reduced[name]:.4f}" for name, drop in drops.items() if drop > max_drop]
    if over:
        raise ExportError(
            f"reduced precision costs too much accuracy (more than {max_drop:g}): {', '.join(over)}; "
            "calibrate with more images or another --calibration-method, or give a plan that keeps more in float"
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
