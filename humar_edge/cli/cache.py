"""`humar-edge cache`: list or clear built TensorRT engines."""

from __future__ import annotations

import json

import click

from humar_edge.errors import SinkError


@click.group()
def command() -> None:
    """Built TensorRT engines. They live in HUMAR_EDGE_CACHE, or in the platform's cache directory."""


@command.command("path")
def show_path() -> None:
    """Print the cache directory."""
    from humar_edge.runtime.tensorrt.cache import EngineCache

    click.echo(EngineCache().directory)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known, as JSON.")
def show_list(as_json: bool) -> None:
    """List the engines: size, precision, TensorRT and GPU they are for."""
    from humar_edge.runtime.tensorrt.cache import EngineCache

    cache = EngineCache()
    entries = [{"file": str(entry.engine), **(entry.metadata() or {})} for entry in cache.entries()]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    if not entries:
        click.echo(f"no engines in {cache.directory}")
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "MB", "precision", "TensorRT", "CUDA", "GPU", "built")
    for entry in entries:
        size = f"{entry.get('engine_bytes', 0) / 1e6:.1f}"
        facts = [str(entry.get(name, "?")) for name in ("precision", "tensorrt", "cuda", "gpu", "built")]
        table.add_row(entry["file"].rsplit("/", 1)[-1], size, *facts)
    Console().print(table)
    click.echo(f"in {cache.directory}")


@command.command("clear")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Remove all engines, layer timings, and what interrupted builds left."""
    from humar_edge.runtime.tensorrt.cache import EngineCache

    cache = EngineCache()
    count = sum(1 for _ in cache.entries())
    if not yes:
        click.confirm(f"remove {count} engines from {cache.directory}?", abort=True)
    try:
        files, freed = cache.clear()
    except OSError as error:
        raise SinkError(f"cannot clear {cache.directory}: {error}") from error
    click.echo(f"removed {files} files, {freed / 1e6:.1f} MB")
