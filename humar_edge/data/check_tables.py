"""Tables of a data check for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from humar_edge.data.check import Check


def check_tables(result: Check) -> list[Table]:
    """Statistics, notes and problems; the last two only where there are any."""
    tables = [_statistics(result)]
    notes = [(split, what, str(count)) for split, found in result.notes.items() for what, count in found.items()]
    if notes:
        tables.append(_table("Left out or mended", ("split", "what", "entries"), notes))
    if result.problems:
        rows = [(p.split, p.what, str(p.count), escape("\n".join(p.examples))) for p in result.problems]
        tables.append(_table("Problems", ("split", "what", "count", "for example"), rows))
    return tables


def _statistics(result: Check) -> Table:
    figures = list(result.statistics.values())
    rows = [(_spoken(key), *(_text(found[key]) for found in figures)) for key in figures[0]]
    return _table("Statistics", ("", *result.statistics), rows)


def _spoken(key: str) -> str:
    return key.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return "-" if value is None else str(value)


def _table(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    return table
