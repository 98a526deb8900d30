"""`humar-edge compare`: parity of two models."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import click

from humar_edge.cli.types import Finite

BACKENDS = ("openvino", "onnxruntime", "tensorrt")


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with images/ and RefHuman_*.json.")
@click.option("--split", default="val", show_default=True, help="Which RefHuman_<split>.json.")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Prompts, a random sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Backend of bundles. [default: the best that shows FP16]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--max-drop", type=Finite(min=0), default=0.01, show_default=True, help="What a metric of B may lose.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a web page with the worst pictures here.")
def command(
    a: Path,
    b: Path,
    data: Path,
    split: str,
    limit: int,
    seed: int,
    backend: str | None,
    threads: int | None,
    max_drop: float,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Compare model B with model A (bundles or checkpoints) on the same pictures and captions.

    Prints the errors of every output, the task metrics of both and their difference, and the latency of both in this
    run. Exit code 1: OKS-AP, Acc@0.5 or mIoU of B is more than --max-drop below A's. Exit code 2: bad input.

    \b
    humar-edge compare bundle-fp32 bundle-int8 --data street --report parity
    """
    from humar_edge.cli.progress import progress_bar
    from humar_edge.data.refhuman import RefHumanIndex
    from humar_edge.evaluation.compare import backend_of, compare_predictors, fitting_backend
    from humar_edge.evaluation.compare_report import write_comparison
    from humar_edge.evaluation.compare_tables import comparison_tables, fact_lines, verdict, wide_console
    from humar_edge.evaluation.predictors import open_predictor
    from humar_edge.evaluation.report import write_json
    from humar_edge.evaluation.run import choose_entries

    index = RefHumanIndex.load(data, split)
    entries = choose_entries(index.entries, "text", limit, seed)
    if backend is None:
        backend = fitting_backend((a, b))
        if backend is not None:
            click.echo(f"half precision: comparing on {backend}, the only CPU backend that computes in it", err=True)
    with ExitStack() as stack:
        first = stack.enter_context(closing(open_predictor(a, backend_of(a, backend), threads)))
        second = stack.enter_context(closing(open_predictor(b, backend_of(b, backend), threads)))
        step = stack.enter_context(progress_bar("comparing", len(entries)))
        keep = report is not None
        found = compare_predictors(first, second, entries, max_drop=max_drop, keep_masks=keep, on_step=step)
    found.skipped += index.skipped
    setup = {
        "a": str(a),
        "b": str(b),
        "backend_a": first.backend,
        "backend_b": second.backend,
        "device": second.device,
        "data": str(data),
        "split": split,
        "limit": limit,
        "seed": seed,
        "threads": threads,
    }
    document = found.document(setup)
    console = wide_console()
    for table in comparison_tables(document):
        console.print(table)
    for line in fact_lines(document):
        click.echo(line)
    if json_file is not None:
        write_json(json_file, document)
        click.echo(f"wrote {json_file}", err=True)
    if report is not None:
        click.echo(f"wrote {write_comparison(report, document, found)}", err=True)
    click.echo(verdict(document), err=not found.passed)
    if not found.passed:
        raise click.exceptions.Exit(1)
