"""Plots of an evaluation, as PNG files (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.errors import MissingExtraError

_SIZE = (5.0, 3.6)


def _figure(x_label: str, y_label: str) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "eval") from error
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    return figure, axes


def plot_precision_recall(curves: Mapping[float, np.ndarray], path: Path) -> None:
    """Pose precision over recall.

    Args:
        curves: OKS threshold -> float [101], precision at recall 0 ... 1.
        path: PNG file to write.
    """
    figure, axes = _figure("recall", "precision")
    for threshold, precision in curves.items():
        axes.plot(np.linspace(0, 1, len(precision)), np.clip(precision, 0, 1), label=f"OKS ≥ {threshold:g}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_oks(values: Sequence[float], path: Path) -> None:
    """Histogram of the OKS of the referred people, with its mean."""
    figure, axes = _figure("OKS", "entries")
    axes.hist(values, bins=20, range=(0, 1), color="tab:blue")
    mean = float(np.mean(values))
    axes.axvline(mean, color="tab:red", label=f"mean {mean:.3f}")
    axes.set(xlim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_calibration(curve: Sequence[Mapping[str, float]], path: Path) -> None:
    """Share of present entries over the score.

    Args:
        curve: points as in `humar_edge.evaluation.presence.calibration`.
        path: PNG file to write.
    """
    figure, axes = _figure("score", "share present")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="ideal")
    axes.plot([point["score"] for point in curve], [point["present"] for point in curve], marker="o", label="measured")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    figure.savefig(path, dpi=110)
