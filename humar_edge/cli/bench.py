"""`humar-edge bench`: latency, memory and power of bundles, combinations and backends, side by side."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from humar_edge.errors import CheckpointError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

    from humar_edge.runtime.bench.measure import Measured
    from humar_edge.runtime.bench.subjects import Subject

TORCH = "torch"
TABLE_WIDTH = 130
UNTRAINED_CALIBRATION = "8"
"""Pictures that calibrate INT8 of random weights: their ranges do not matter for latency."""


@click.command("bench")
@click.option("--model", "models", multiple=True, type=click.Path(path_type=Path), help="Bundle; repeatable.")
@click.option("--combo", "combos", multiple=True, metavar="NAME", help="Combination, exported first; repeatable.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Its weights. [default: random ones]")
@click.option("--backend", "backends", multiple=True, help="tensorrt, openvino, onnxruntime or torch; repeatable.")
@click.option("--precision", "precisions", multiple=True, help="fp32, fp16 or int8 of a combination; repeatable.")
@click.option("--imgsz", metavar="SIZE", help="640 or HEIGHTxWIDTH of a combination. [default: its own]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the backend.")
@click.option("--iterations", type=click.IntRange(min=1), default=200, show_default=True, help="Frames at least.")
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Seconds at least.")
@click.option("--warmup", type=click.IntRange(min=1), default=20, show_default=True, help="Frames before.")
@click.option("--frame", default="720x1280", show_default=True, metavar="HxW", help="Size of the picture that is fed.")
@click.option("--vram", metavar="SIZE", help="Check against a GPU's memory: 4G, 6G, 512M.")
@click.option("--json", "json_file", metavar="FILE", help="Everything as JSON; - for standard output.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE|DIR", help="A row per subject.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="The tables as Markdown.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), metavar="FILE", help="A chart, PNG or SVG.")
def command(
    models: tuple[Path, ...],
    combos: tuple[str, ...],
    checkpoint: Path | None,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    imgsz: str | None,
    threads: int | None,
    iterations: int,
    seconds: float,
    warmup: int,
    frame: str,
    vram: str | None,
    json_file: str | None,
    csv_file: Path | None,
    markdown: Path | None,
    plot_file: Path | None,
) -> None:
    """Latency, memory and power of bundles, combinations and backends, measured side by side.

    \b
    humar-edge bench                                   the embedded bundle
    humar-edge bench --combo ultra-light --backend openvino --backend torch
    humar-edge bench --model bundles/a --model bundles/b --csv results/

    Subjects take turns, A B A B, until each has --iterations frames and --seconds, whichever takes longer. A directory
    for --csv gets a file whose name says precision, size, versions and device.
    """
    from rich.console import Console

    from humar_edge.cli.list_ import parse_size
    from humar_edge.cli.progress import progress_bar
    from humar_edge.files import write_text
    from humar_edge.runtime.bench import report
    from humar_edge.runtime.bench.measure import Plan, measure
    from humar_edge.runtime.memory import parse_vram

    limit = parse_vram(vram) if vram else None
    plan = Plan(iterations, seconds, warmup, frame_size=parse_size(frame))
    size = parse_size(imgsz) if imgsz else None
    if not combos and checkpoint is not None:
        combos = (_combo_of(checkpoint),)
    _check(models, combos, checkpoint, backends, precisions, size)
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="humar-edge-bench-", ignore_cleanup_errors=True) as scratch:
        openers = _bundle_openers(models, combos, backends, threads)
        for combo in combos:
            openers += _combo_openers(
                combo, checkpoint, backends, precisions or ("fp32",), size, threads, Path(scratch), messages
            )
        with progress_bar("measuring", plan.rounds) as step:
            results = measure(openers, plan, lambda done, planned: step())
    where = report.conditions(plan, threads)
    # Standard output belongs to the data when data goes there.
    _print(results, limit, to_stderr=json_file == "-")
    if json_file:
        text = json.dumps(report.to_json(results, where, limit), indent=2)
        if json_file == "-":
            click.echo(text)
        else:
            write_text(Path(json_file), text + "\n")
    if csv_file:
        target = csv_file if csv_file.suffix.lower() == ".csv" else csv_file / report.csv_name(results)
        write_text(target, report.to_csv(results))
        messages.print(f"wrote {target}", markup=False)
    if markdown:
        write_text(markdown, report.to_markdown(results, where, limit))
    if plot_file:
        report.plot(results, plot_file)


def _check(
    models: Sequence[Path],
    combos: Sequence[str],
    checkpoint: Path | None,
    backends: Sequence[str],
    precisions: Sequence[str],
    size: tuple[int, int] | None,
) -> None:
    """Refuse what cannot be measured before anything slow starts."""
    from humar_edge.combos import resolve
    from humar_edge.runtime.runners import BACKENDS

    for backend in backends:
        if backend != TORCH and backend not in BACKENDS:
            raise ConfigError(f"unknown backend '{backend}'; known: {', '.join((*BACKENDS, TORCH))}")
    for combo in combos:
        resolve(combo)
    if checkpoint is not None and len(combos) != 1:
        raise ConfigError("--checkpoint holds the weights of one --combo")
    if not combos and (precisions or size):
        raise ConfigError("a bundle's precision and size are fixed; use --precision and --imgsz with --combo")
    if (models or not combos) and backends and not _engine_backends(backends):
        raise ConfigError(
            "--backend torch needs --combo NAME (random weights) or --checkpoint FOLDER; bundles need another backend"
        )


def _bundle_openers(
    models: Sequence[Path], combos: Sequence[str], backends: Sequence[str], threads: int | None
) -> list[Callable[[], Subject]]:
    from humar_edge.bundle import Bundle, default_bundle_path
    from humar_edge.runtime.bench.subjects import open_bundle

    paths = models or ([] if combos else [default_bundle_path()])
    bundles = [Bundle.load(path) for path in paths]
    names = _engine_backends(backends)
    return [partial(open_bundle, bundle, name, threads) for bundle in bundles for name in names]


def _engine_backends(backends: Sequence[str]) -> list[str | None]:
    """The backends that run engines; None, the best available one, when no backend is named at all."""
    return [backend for backend in backends if backend != TORCH] if backends else [None]


def _combo_openers(
    combo: str,
    checkpoint: Path | None,
    backends: Sequence[str],
    precisions: Sequence[str],
    size: tuple[int, int] | None,
    threads: int | None,
    scratch: Path,
    messages: Console,
) -> list[Callable[[], Subject]]:
    """A combination on its backends; PyTorch, being what the others are compared with, comes first."""
    from humar_edge.runtime.bench.eager import open_eager
    from humar_edge.runtime.bench.subjects import open_bundle

    openers: list[Callable[[], Subject]] = []
    if TORCH in backends:
        openers.append(partial(open_eager, combo, checkpoint, size, threads))
    names = _engine_backends(backends)
    if names:
        for precision in precisions:
            kind = "" if checkpoint else " with random weights (untrained: only latency and memory mean anything)"
            messages.print(f"exporting {combo} in {precision}{kind}", markup=False)
            bundle = _export(combo, checkpoint, precision, size, scratch / f"{combo}-{precision}", messages)
            openers += [partial(open_bundle, bundle, name, threads) for name in names]
    return openers


def _export(
    combo: str, checkpoint: Path | None, precision: str, size: tuple[int, int] | None, target: Path, messages: Console
) -> Any:
    """A temporary bundle, made by the export verb's own function and defaults."""
    from humar_edge.cli.export import command as export_command
    from humar_edge.cli.progress import progress_bar

    try:
        from humar_edge.export.session import export
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    weights = ["--checkpoint", str(checkpoint), "--unverified"] if checkpoint else ["--untrained"]
    if not checkpoint:
        weights += ["--calibration-images", UNTRAINED_CALIBRATION]
    sides = ["--imgsz", ",".join(map(str, size))] if size else []
    arguments = ["--combo", combo, "--precision", precision, "--output", str(target), *weights, *sides]
    context = export_command.make_context("export", arguments)

    def say(line: str) -> None:
        if "warning" in line and "untrained" not in line:
            messages.print(line, markup=False)

    return export(say=say, bar=progress_bar, **context.params)


def _combo_of(checkpoint: Path) -> str:
    try:
        return str(json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["combo"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint} does not say its combination: give the folder that humar-edge train wrote, or add --combo"
        ) from error


def _print(results: Sequence[Measured], limit: int | None, to_stderr: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from humar_edge.runtime.bench.report import lines, tables

    console = Console(stderr=to_stderr, highlight=False)
    if console.width < TABLE_WIDTH:  # a table that the terminal wraps still has all its figures
        console = Console(stderr=to_stderr, highlight=False, width=TABLE_WIDTH)
    for found in tables(results):
        shown = Table(title=found.title, title_justify="left", box=None)
        for index, column in enumerate(found.header):
            shown.add_column(column, justify="left" if index < found.words else "right", no_wrap=index < found.words)
        for row in found.rows:
            shown.add_row(*row)
        console.print(shown, "")
    for line in lines(results, limit):
        console.print(line, markup=False, soft_wrap=True)
