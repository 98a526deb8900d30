"""A comparison as a static web page: tables, and the pictures on which B lost most, A beside B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from humar_edge.errors import SinkError
from humar_edge.evaluation.compare import Comparison, Pair
from humar_edge.evaluation.compare_tables import (
    LATENCY_HEADINGS,
    METRIC_HEADINGS,
    OUTPUT_HEADINGS,
    fact_lines,
    latency_rows,
    metric_rows,
    output_rows,
    verdict,
)
from humar_edge.evaluation.report import write_json
from humar_edge.evaluation.sheets import draw_outcome, figures_line

SHOWN = 12
SIDE = 360
"""Longer side of one picture."""
PAGE, FIGURES = "index.html", "comparison.json"

_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1000px;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}figure{margin:1.5em 0}"
)


def write_comparison(directory: Path, document: Mapping[str, Any], comparison: Comparison) -> Path:
    """Write `index.html`, `comparison.json` and the pictures to a folder; the page comes last.

    Args:
        directory: Is created if need be.
        document: What `Comparison.document` returned.
        comparison: Holds the outcomes; with masks where evaluators kept them.

    Returns:
        Path of the page.

    Raises:
        SinkError: The folder cannot be written.
    """
    pairs = comparison.worst(SHOWN)
    page = directory / PAGE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("worst_*.jpg"):
            old.unlink()
        for number, pair in enumerate(pairs):
            (directory / _picture(number)).write_bytes(_jpeg(side_by_side(pair)))
        write_json(directory / FIGURES, document)
        temporary = page.with_suffix(".tmp")
        temporary.write_text(_page(document, pairs), encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise SinkError(f"cannot write the report to {directory}: {error.strerror or error}") from error
    return page


def side_by_side(pair: Pair) -> np.ndarray:
    """A's prediction left, B's right: uint8 [H, W, 3], BGR, with the annotation in green."""
    left, right = (draw_outcome(outcome, SIDE) for outcome in (pair.a, pair.b))
    gap = np.full((left.shape[0], 8, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def _picture(number: int) -> str:
    return f"worst_{number:02d}.jpg"


def _jpeg(picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise SinkError("cannot encode a picture of the report")
    return data.tobytes()


def _page(document: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    setup = document["setup"]
    title = f"{Path(str(setup['a'])).name} and {Path(str(setup['b'])).name} on {Path(str(setup['data'])).name}"
    settings = [[key, "-" if value is None else str(value)] for key, value in setup.items()]
    facts = "".join(f"<li>{escape(line)}</li>" for line in fact_lines(document))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p><b>{escape(verdict(document))}</b></p>"
        f"{_table((), settings)}<h2>Metrics</h2>{_table(METRIC_HEADINGS, metric_rows(document))}"
        f"<h2>Outputs: |A - B|</h2>{_table(OUTPUT_HEADINGS, output_rows(document))}"
        f"<h2>Latency in this run</h2>{_table(LATENCY_HEADINGS, latency_rows(document))}<ul>{facts}</ul>"
        f"<h2>Where B lost most</h2><p>A left, B right; the annotation is green and thin, the prediction orange.</p>"
        f"{''.join(_figure(number, pair) for number, pair in enumerate(pairs)) or '<p>Nowhere.</p>'}</body></html>\n"
    )


def _figure(number: int, pair: Pair) -> str:
    caption = f"{pair.a.entry.caption} | A: {figures_line(pair.a)} | B: {figures_line(pair.b)} | {_differences(pair)}"
    name = _picture(number)
    return f'<figure><img src="{name}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'


def _differences(pair: Pair) -> str:
    return "largest differences: " + ", ".join(f"{name} {value:.2g}" for name, value in pair.worst.items())


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    head = line(headings, "th") if headings else ""
    return f"<table>{head}{''.join(line(row, 'td') for row in rows)}</table>"
