"""`humar-edge list`: the components, the combinations, and what they really cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from humar_edge.combos import BACKBONES, COMBOS, TEXT_ENCODERS, TRANSFORMERS, Combo
from humar_edge.errors import ConfigError, MissingExtraError

PARTS = "transformer + text + backbone"
PARTS_WIDTH = max(len(name) for name in (*TRANSFORMERS, *TEXT_ENCODERS, *BACKBONES))
"""Columns that keep every component's name in one piece."""


def parse_size(text: str) -> tuple[int, int]:
    """'640' or '384x640' (height x width) as two ints.

    Raises:
        ConfigError: It is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ConfigError(f"image size '{text}' is neither a number nor HEIGHTxWIDTH")
    return int(sides[0]), int(sides[-1])


def require_torch() -> None:
    """Fail with the way to install it where PyTorch is missing.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error


def _components() -> dict[str, Any]:
    tables: dict[str, Any] = {"transformers": TRANSFORMERS, "text_encoders": TEXT_ENCODERS, "backbones": BACKBONES}
    return {kind: {name: asdict(row) for name, row in table.items()} for kind, table in tables.items()}


def _exact(name: str, combo: Combo, size: tuple[int, int] | None) -> dict[str, Any]:
    """Counted parameters and, with a size, multiply-accumulates of one combination."""
    from humar_edge.models.summary import build, measure

    click.echo(f"counting {name}...", err=True)
    network = build(combo)
    counted = network.parameters
    found: dict[str, Any] = {"parameters": {**asdict(counted), "total": counted.total}}
    if size:
        cost = measure(network, size)
        found["gmacs"] = {
            "input_size": list(size),
            "backbone": cost.backbone_macs / 1e9,
            "vision": cost.vision_macs / 1e9,
        }
    return found


def _print_components() -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, kind, table in (
        ("Transformers (--transformer-type)", "transformer", TRANSFORMERS),
        ("Text encoders (--text-encoder-type, or hf:<model-id-or-path>)", "text encoder", TEXT_ENCODERS),
        ("Backbones (--backbone)", "backbone", BACKBONES),
    ):
        shown = Table(title=title, title_justify="left", box=None)
        for column in (kind, "parameters", "width or channels", "what it is"):
            shown.add_column(column, no_wrap=column == kind)
        for name, row in table.items():
            width = getattr(row, "dim", None) or ", ".join(map(str, getattr(row, "channels", ())))
            shown.add_row(name, row.params, str(width), row.description)
        console.print(shown, "")


def _millions(value: int) -> str:
    return f"{value / 1e6:.2f}M"


def _table(title: str, columns: dict[str, str], rows: list[list[str]]) -> None:
    """Print a table; `columns` maps each heading to how it is set: `name` and `words` left, else right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, kind in columns.items():
        left, least = kind in ("name", "words"), PARTS_WIDTH if heading == PARTS else None
        table.add_column(heading, justify="left" if left else "right", no_wrap=kind == "name", min_width=least)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_combos(rows: dict[str, dict[str, Any]]) -> None:
    columns = {"#": "", "--combo": "name", PARTS: "words", "input": "", "total": "", "best for": "words"}
    cells = []
    for name, row in rows.items():
        parts = " + ".join(row[part] for part in ("transformer_type", "text_encoder_type", "backbone"))
        best = row["best_for"] + (" (experimental)" if row["experimental"] else "")
        cells.append([str(row["rank"] or ""), name, parts, "x".join(map(str, row["input_size"])), row["total"], best])
    _table("Combinations", columns, cells)


def _print_exact(rows: dict[str, dict[str, Any]]) -> None:
    counts = ("transformer", "text", "backbone", "total")
    cells = []
    for name, row in rows.items():
        nominal, counted = row["total"], row["parameters"]
        off = f"{counted['total'] / float(nominal.rstrip('M')) / 1e6 - 1:+.1%}" if nominal else ""
        cells.append([str(row["rank"] or ""), name, *(_millions(counted[part]) for part in counts), nominal, off])
    title = "Parameters; heads count as transformer, 'table' is the documented total"
    _table(title, {"#": "", "--combo": "name", **dict.fromkeys((*counts, "table", "off"), "")}, cells)


def _print_macs(rows: dict[str, dict[str, Any]], size: tuple[int, int]) -> None:
    columns = {"#": "", "--combo": "name", "backbone": "", "vision engine": ""}
    cells = [
        [str(row["rank"] or ""), name, *(f"{row['gmacs'][part]:.2f}" for part in ("backbone", "vision"))]
        for name, row in rows.items()
    ]
    _table(f"GMACs at {size[0]}x{size[1]}", columns, cells)


@click.command()
@click.option("--exact", is_flag=True, help="Count the parameters of the real networks (needs PyTorch).")
@click.option("--imgsz", metavar="SIZE", help="Count multiply-accumulates at 640 or HEIGHTxWIDTH; implies --exact.")
@click.option("--combo", "names", multiple=True, metavar="NAME", help="Only this combination (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(exact: bool, imgsz: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """The combinations and their components.

    GMACs count convolutions and matrix products of the vision network: one picture, one prompt.
    """
    from humar_edge.combos import resolve

    chosen = {name: resolve(name) for name in names or COMBOS}
    size = parse_size(imgsz) if imgsz else None
    exact = exact or size is not None
    rows: dict[str, dict[str, Any]] = {name: asdict(combo) for name, combo in chosen.items()}
    if exact:
        require_torch()
        from humar_edge.models.summary import check_input_size

        if size:
            check_input_size(size)
        for name, combo in chosen.items():
            rows[name] |= _exact(name, combo, size)
    if as_json:
        click.echo(json.dumps({**({} if names else _components()), "combos": rows}, indent=2))
        return
    if not (names or exact):
        _print_components()
    if exact:
        _print_exact(rows)
    else:
        _print_combos(rows)
    if size:
        click.echo()
        _print_macs(rows, size)
