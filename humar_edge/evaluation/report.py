"""The result as a JSON document, and as a static web page with plots and pictures."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2

from humar_edge import __version__
from humar_edge.errors import SinkError
from humar_edge.evaluation.evaluator import Evaluator, Outcome
from humar_edge.evaluation.plots import plot_calibration, plot_oks, plot_precision_recall
from humar_edge.evaluation.pose_ap import precision_recall
from humar_edge.evaluation.sheets import contact_sheet
from humar_edge.evaluation.tables import COLUMNS, fact_rows, geometry_rows, percent
from humar_edge.files import write_text

SCHEMA_VERSION = 1
SHOWN = 12
"""Pictures per contact sheet."""

_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)


def result_document(setup: Mapping[str, Any], evaluator: Evaluator, skipped: Counter[str]) -> dict[str, Any]:
    """Everything worth keeping of one evaluation, ready for JSON.

    Args:
        setup: model, data, prompt, backend and so on.
        evaluator: holds the outcomes.
        skipped: reason -> number of entries that were left out.
    """
    head = {"schema_version": SCHEMA_VERSION, "humar_edge": __version__, "machine": platform.machine()}
    return {**head, "setup": dict(setup), **evaluator.summary(), "skipped": dict(skipped.most_common())}


def write_json(path: Path, document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a document under a temporary name and rename it.

    Raises:
        SinkError: the file cannot be written.
    """
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_report(directory: Path, document: Mapping[str, Any], evaluator: Evaluator) -> Path:
    """Write `index.html`, the plots, the contact sheets and `metrics.json` to a folder.

    Args:
        directory: is created if need be.
        document: what `result_document` returned.
        evaluator: holds the outcomes; with `keep_masks` the pictures show the masks.

    Returns:
        Path of the page.

    Raises:
        SinkError: the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot create {directory}: {error.strerror or error}") from error
    write_json(directory / "metrics.json", document)
    sections = [*_plots(directory, document, evaluator), *_sheets(directory, evaluator)]
    page = directory / "index.html"
    write_text(page, _page(document, sections))
    return page


def cases(evaluator: Evaluator, count: int = SHOWN) -> dict[str, list[Outcome]]:
    """The outcomes to look at: title -> outcomes, most telling first."""
    ranked = sorted(evaluator.present, key=lambda outcome: outcome.quality)
    alarms = [o for o in evaluator.outcomes if o.entry.absent and o.score >= evaluator.threshold]
    missed = [o for o in evaluator.present if o.score < evaluator.threshold]
    groups = {
        "Worst": ranked,
        "Best": ranked[::-1],
        "False alarms (nobody fits the caption)": sorted(alarms, key=lambda o: -o.score),
        "Missed (present, but scored low)": sorted(missed, key=lambda o: o.score),
    }
    return {title: _distinct(outcomes)[:count] for title, outcomes in groups.items()}


def _distinct(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The first outcome of each picture: a dozen captions of one photo would fill a sheet."""
    first: dict[Path, Outcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.entry.image_path, outcome)
    return list(first.values())


def _plots(directory: Path, document: Mapping[str, Any], evaluator: Evaluator) -> list[tuple[str, str]]:
    sections = []
    if evaluator.present:
        poses = [outcome.pose for outcome in evaluator.present if outcome.pose]
        plot_precision_recall(precision_recall(poses), directory / "precision_recall.png")
        plot_oks([outcome.oks for outcome in evaluator.present], directory / "oks.png")
        sections += [("Pose: precision and recall", "precision_recall.png"), ("OKS of the referred people", "oks.png")]
    if document["presence"]:
        plot_calibration(document["presence"]["calibration"]["curve"], directory / "calibration.png")
        sections.append(("Presence: is the score a probability?", "calibration.png"))
    return sections


def _sheets(directory: Path, evaluator: Evaluator) -> list[tuple[str, str]]:
    sections = []
    for number, (title, outcomes) in enumerate(cases(evaluator).items()):
        name = f"sheet_{number}.jpg"
        (directory / name).unlink(missing_ok=True)
        if outcomes:
            done, data = cv2.imencode(".jpg", contact_sheet(outcomes), [cv2.IMWRITE_JPEG_QUALITY, 85])
            if not done:
                raise SinkError(f"cannot encode {directory / name}")
            (directory / name).write_bytes(data.tobytes())
            sections.append((title, name))
    return sections


def _page(document: Mapping[str, Any], sections: Sequence[tuple[str, str]]) -> str:
    setup = document["setup"]
    figures = [["", "entries", *COLUMNS]]
    for name, group in geometry_rows(document):
        figures.append([name, str(group["entries"]), *(percent(figure(group)) for figure in COLUMNS.values())])
    pictures = "".join(
        f'<h2>{escape(title)}</h2><img src="{escape(name)}" alt="{escape(title)}">' for title, name in sections
    )
    title = f"{Path(str(setup['model'])).name} on {Path(str(setup['data'])).name}/{setup['split']}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{_table([[key, '-' if value is None else str(value)] for key, value in setup.items()])}"
        "<h2>Figures in %</h2><p>One predicted person per entry, entries whose person is in the picture.</p>"
        f"{_table(figures, heading=True)}{_table([list(row) for row in fact_rows(document)])}"
        "<p>In the pictures the annotation is green and thin, the prediction orange.</p>"
        f"{pictures}</body></html>\n"
    )


def _table(rows: Sequence[Sequence[str]], heading: bool = False) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)

    lines = [f"<tr>{cells(row, 'th' if heading and not number else 'td')}</tr>" for number, row in enumerate(rows)]
    return f"<table>{''.join(lines)}</table>"
