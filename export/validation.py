"""Is a bundle still right? Task metrics on validation data, and for reduced precision the comparison with FP32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from humar_edge.bundle import Bundle
from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.errors import ConfigError, ExportError
from humar_edge.evaluation.compare import compare_predictors, figures_of, fitting_backend
from humar_edge.evaluation.compare_report import write_comparison
from humar_edge.evaluation.compare_tables import fact_lines
from humar_edge.evaluation.evaluator import Evaluator
from humar_edge.evaluation.run import choose_entries, evaluate
from humar_edge.runtime.predictor import Predictor

Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
Say = Callable[[str], None]

LEAST = 200
"""Prompts that a comparison with FP32 needs, to be called one."""
WORST = 5
"""Worst prompts that the manifest names."""
THREADS = 2


def validation_entries(folder: Path | None, limit: int) -> tuple[list[Entry], list[Entry]]:
    """Prompts of the val split to measure a bundle on, and those left for a search; either may be empty."""
    if folder is None:
        return [], []
    entries = RefHumanIndex.load(folder, "val").entries
    chosen = choose_entries(entries, "text", limit)
    taken = {entry.id for entry in chosen}
    return chosen, [entry for entry in entries if entry.id not in taken]


def require_prompts(entries: Sequence[Entry], folder: Path | None) -> None:
    """Refuse reduced precision that could not be proved right.

    Raises:
        ConfigError: No validation data, or fewer than `LEAST` prompts.
    """
    if len(entries) >= LEAST:
        return
    what = f"{folder} gives {len(entries)} prompts" if folder else "there is no --val-data"
    raise ConfigError(
        f"reduced precision is compared with FP32 on at least {LEAST} prompts, and {what}: give --val-data DIR with "
        f"--val-limit {LEAST} or more, or add --unverified, which the bundle will say"
    )


def unproved(compared: int, listed: int, agreed: bool) -> str | None:
    """What a reduced bundle says of itself when too few prompts were compared with FP32; None when they were enough.

    Args:
        compared: Prompts whose pictures could be read.
        listed: Prompts chosen from the validation data.
        agreed: Whether `--unverified` was given.

    Raises:
        ExportError: They were too few, and nobody agreed to that.
    """
    if compared >= LEAST:
        return None
    if not agreed:
        raise ExportError(
            f"only {compared} of {listed} prompts could be compared with FP32, {LEAST} are needed; "
            "humar-edge data check names pictures that cannot be read, --unverified does without"
        )
    return f"unverified: reduced precision was not compared with FP32 on {LEAST} prompts (--val-data)"


def measure(bundle: Bundle, entries: Sequence[Entry], bar: Bar) -> dict[str, Any]:
    """Metrics of a bundle with text prompts (`humar_edge.evaluation.compare.FIGURES`), and the `backend`.

    Raises:
        ExportError: The entries hold no prompt whose person is present.
    """
    evaluator = Evaluator(threshold=bundle.manifest.thresholds["score"])
    backend = fitting_backend([bundle.path])
    with (
        Predictor(bundle, backend, threads=THREADS) as predictor,
        bar("validating", len(entries)) as step,
    ):
        evaluate(predictor, entries, evaluator, "text", step)
        return _rounded(_present(figures_of(evaluator.summary()))) | {"backend": predictor.backend}


def compare_bundles(
    reference: Bundle,
    reduced: Bundle,
    entries: Sequence[Entry],
    *,
    data: str,
    max_drop: float,
    report: Path | None,
    bar: Bar,
    say: Say,
) -> dict[str, Any]:
    """Compare a reduced bundle with FP32, as `humar-edge compare` does.

    Args:
        reference: FP32.
        reduced: What is compared with it.
        entries: Prompts.
        data: What they are from.
        max_drop: Largest loss of OKS-AP, Acc@0.5 and mIoU.
        report: Folder for a page with the worst pictures; None writes none.
        bar: Opens a progress bar.
        say: Prints a line.

    Returns:
        For the manifest: metrics of both (`fp32`, `bundle`), `drops` with `intervals`, statistics of the `outputs` with
        the tolerance that would have passed, `same_person`, `latency_ms`, and the `worst` prompts.

    Raises:
        ExportError: A metric lost too much, the reduced bundle gives NaN, or nobody is in the pictures.
    """
    backend = fitting_backend([reference.path, reduced.path])
    with (
        Predictor(reference, backend, threads=THREADS) as first,
        Predictor(reduced, backend, threads=THREADS) as second,
        bar("comparing with FP32", len(entries)) as step,
    ):
        found = compare_predictors(
            first, second, entries, max_drop=max_drop, keep_masks=report is not None, on_step=step
        )
        setup = {"a": "FP32", "b": "reduced", "backend_a": first.backend, "backend_b": second.backend, "data": data}
    document = found.document(setup)
    metrics = document["metrics"]
    _present(metrics)
    say(f"reduced against FP32 on {document['entries']} prompts ({setup['backend_b']}), limit {max_drop:g}")
    for name, figure in metrics.items():
        interval = "" if figure["interval"] is None else f" ± {figure['interval']:.4f}"
        say(f"  {name}: {figure['a']:.4f} -> {figure['b']:.4f} ({-figure['drop']:+.4f}{interval})")
    for line in fact_lines(document):
        say(f"  {line}")
    if report is not None:
        say(f"wrote {write_comparison(report, document, found)}")
    if not found.passed:
        over = [f"{name} {f['a']:.4f} -> {f['b']:.4f}" for name, f in metrics.items() if f["passed"] is False]
        raise ExportError(
            f"reduced precision costs too much accuracy (more than {max_drop:g}): {', '.join(over) or 'it gives NaN'}; "
            "calibrate with more images or another --calibration-method, or take --precision auto"
        )
    return {
        "compared": document["entries"],
        "fp32": _rounded({name: figure["a"] for name, figure in metrics.items()}),
        "bundle": _rounded({name: figure["b"] for name, figure in metrics.items()}),
        "drops": _rounded({name: figure["drop"] for name, figure in metrics.items()}),
        "intervals": _rounded({name: f["interval"] for name, f in metrics.items() if f["interval"] is not None}),
        "max_drop": max_drop,
        "backend": setup["backend_b"],
        "outputs": document["outputs"],
        **{key: document[key] for key in ("same_person", "latency_ms")},
        "worst": document["worst"][:WORST],
    }


def _present(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    if "Acc@0.5" not in figures:
        raise ExportError("the validation data holds no prompt whose person is present")
    return figures


def _rounded(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: round(float(value), 4) for name, value in values.items()}
