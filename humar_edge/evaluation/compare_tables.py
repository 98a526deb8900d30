"""A comparison as rows of text, for the terminal and for the page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

METRIC_HEADINGS = ("metric", "A", "B", "drop", "95%", "")
OUTPUT_HEADINGS = ("output", "max", "mean", "p99", "values to", "passes at", "unit")
LATENCY_HEADINGS = ("inference ms", "p50", "p90", "mean")

WIDTH = 140
"""Columns of text where there is no terminal."""


def metric_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """One row per task metric."""
    rows = []
    for name, figure in document["metrics"].items():
        interval = "" if figure["interval"] is None else f"±{figure['interval']:.4f}"
        verdict = {True: "ok", False: f"over {document['max_drop']:g}", None: ""}[figure["passed"]]
        rows.append([name, f"{figure['a']:.4f}", f"{figure['b']:.4f}", f"{figure['drop']:+.4f}", interval, verdict])
    return rows


def output_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """One row per output."""
    rows = []
    for name, figures in document["outputs"].items():
        values = [_number(figures[key]) for key in ("max", "mean", "p99", "scale", "tolerance")]
        broken = f"; {figures['not_finite']} not finite" if figures["not_finite"] else ""
        rows.append([name, *values, figures["unit"] + broken])
    return rows + [[name, "-", "-", "-", "-", "-", reason] for name, reason in document["not_compared"].items()]


def latency_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """One row per model."""
    latency = document["latency_ms"]
    if latency is None:
        return []
    return [[side.upper(), *(f"{latency[side][key]:.1f}" for key in ("p50", "p90", "mean"))] for side in ("a", "b")]


def fact_lines(document: Mapping[str, Any]) -> list[str]:
    """What does not fit a table."""
    lines = []
    if document["same_person"] is not None:
        lines.append(
            f"same person in {document['same_person']:.1%} of the pictures that hold one (boxes overlap by half)"
        )
    if document["latency_ms"]:
        lines.append(f"B is {document['latency_ms']['speedup']:.2f}x as fast as A (median entry by entry)")
    lines += [f"skipped: {count} {reason}" for reason, count in document["skipped"].items()]
    return lines


def verdict(document: Mapping[str, Any]) -> str:
    """One line: whether B is within the limit."""
    if document["passed"]:
        return f"B is within {document['max_drop']:g} of A on {document['entries']} prompts"
    over = [f"{name} {f['a']:.4f} -> {f['b']:.4f}" for name, f in document["metrics"].items() if f["passed"] is False]
    return f"B is worse than A by more than {document['max_drop']:g}: {', '.join(over) or 'it gives NaN'}"


def comparison_tables(document: Mapping[str, Any]) -> list[Table]:
    """The tables that `humar-edge compare` prints."""
    setup = document["setup"]
    return [
        table(
            METRIC_HEADINGS,
            metric_rows(document),
            f"A {setup['a']} ({setup['backend_a']})\nB {setup['b']} ({setup['backend_b']})",
        ),
        table(OUTPUT_HEADINGS, output_rows(document), "|A - B| of the outputs"),
        table(LATENCY_HEADINGS, latency_rows(document)),
    ]


def wide_console() -> Console:
    """A console that cuts no figures off where the output goes to a file."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A table whose first column is text and whose other columns are figures."""
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
