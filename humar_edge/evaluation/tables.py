"""Tables of the figures for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

COLUMNS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "AP": lambda g: g["pose"]["AP"],
    "AP50": lambda g: g["pose"]["AP50"],
    "AR": lambda g: g["pose"]["AR"],
    "OKS": lambda g: g["mean_oks"],
    "PCKh": lambda g: g["PCKh@0.5"],
    "Acc": lambda g: g["box_Acc@0.5"],
    "oIoU": lambda g: g["mask"] and g["mask"]["oIoU"],
    "mIoU": lambda g: g["mask"] and g["mask"]["mIoU"],
    "P@0.5": lambda g: g["mask"] and g["mask"]["P@0.5"],
    "P@0.9": lambda g: g["mask"] and g["mask"]["P@0.9"],
}
"""Heading -> the figure in a geometry summary, a share that is shown in percent."""


def percent(value: float | None) -> str:
    """A share as per cent with one decimal, a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def geometry_rows(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and geometry summary of everything, of each size and of each kind of caption that occurs."""
    groups = {"all": document["overall"]} | document["by_size"] | document["by_kind"]
    return [(name, group) for name, group in groups.items() if group]


def fact_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Presence, latency and what was left out, as name and text."""
    rows = []
    presence, latency = document["presence"], document["latency_ms"]
    if presence:
        f1, best = presence["F1"], presence["best_F1"]
        rows += [
            ("presence AUROC", f"{presence['AUROC']:.3f} ({presence['absent']} of {presence['entries']} absent)"),
            (
                "presence F1",
                f"{f1['f1']:.3f} at {f1['threshold']:.2f} (best {best['f1']:.3f} at {best['threshold']:.2f})",
            ),
            ("calibration error", f"{presence['calibration']['ece']:.3f}"),
        ]
    if latency:
        rows.append(("inference ms", "p50 {p50:.1f}, p90 {p90:.1f}, p99 {p99:.1f}".format(**latency)))
    if document["not_finite"]:
        rows.append(("predictions with NaN", str(document["not_finite"])))
    return rows + [(f"skipped: {reason}", str(count)) for reason, count in document["skipped"].items()]


def metric_tables(document: Mapping[str, Any]) -> list[Table]:
    """The tables that `humar-edge val` prints."""
    title = "in %, top-1 prediction, entries whose person is present"
    figures = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in ("", "entries", *COLUMNS):
        figures.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, group in geometry_rows(document):
        figures.add_row(name, str(group["entries"]), *(percent(figure(group)) for figure in COLUMNS.values()))
    facts = Table(show_header=False, box=None)
    for row in fact_rows(document):
        facts.add_row(*row)
    return [figures, facts]
