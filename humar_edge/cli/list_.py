"""`humar-edge list`: the components, the combinations, and what they really cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from humar_edge.combos import BACKBONES, COMBOS, TEXT_ENCODERS, TRANSFORMERS, Combo
from humar_edge.errors import ConfigError, MissingExtraError


def parse_size(text: str) -> tuple[int, int]:
    """'640' or '384x640' (height x width) as two ints.

    Raises:
        ConfigError: It is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
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


def _millions(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:.2f}M"


def _print_combos(rows: dict[str, dict[str, Any]], exact: bool, size: tuple[int, int] | None) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ["#", "--combo", "transformer + text + backbone", "input", "total"]
    columns += ["transformer", "text", "backbone", "counted", "off by"] if exact else []
    columns += ["GMACs backbone", "GMACs vision"] if size else []
    columns += [] if exact else ["best for"]
    title = f"Combinations, GMACs at {size[0]}x{size[1]}" if size else "Combinations"
    table = Table(title=title, title_justify="left", box=None)
    for column in columns:
        words = column in (*columns[1:3], "best for")
        table.add_column(column, justify="left" if words else "right", no_wrap=column == "--combo")
    for name, row in rows.items():
        parts = " + ".join(row[part] for part in ("transformer_type", "text_encoder_type", "backbone"))
        cells = [str(row["rank"] or ""), name, parts, "x".join(map(str, row["input_size"])), row["total"]]
        if exact:
            counted = row["parameters"]
            cells += [_millions(counted[part]) for part in ("transformer", "text", "backbone", "total")]
            nominal = float(row["total"].rstrip("M")) * 1e6 if row["total"] else None
            cells.append(f"{counted['total'] / nominal - 1:+.1%}" if nominal else "")
        if size:
            cells += [f"{row['gmacs'][part]:.2f}" for part in ("backbone", "vision")]
        if not exact:
            cells.append(row["best_for"] + (" (experimental)" if row["experimental"] else ""))
        table.add_row(*cells)
    Console().print(table)


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
    _print_combos(rows, exact, size)
