"""`humar-edge val`: metrics of a bundle or checkpoint."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

BACKENDS = ("openvino", "onnxruntime", "tensorrt", "torch")


@click.command("val")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle or checkpoint. [default: the embedded bundle]")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder with images/ and RefHuman_*.json.")
@click.option("--split", default="val", show_default=True, help="Which RefHuman_<split>.json.")
@click.option("--prompt", type=click.Choice(("text", "point", "scribble")), default="text", show_default=True)
@click.option("--backend", type=click.Choice(BACKENDS), help="Backend. [default: the best one for the model]")
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate a random sample of this many entries.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the backend.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a web page with plots and pictures here.")
def command(
    model: Path | None,
    data: Path,
    split: str,
    prompt: str,
    backend: str | None,
    limit: int | None,
    seed: int,
    threads: int | None,
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Measure a bundle or checkpoint on data in RefHuman format.

    Pose AP and AR, PCKh, box and mask overlap are those of the one predicted person on entries whose person is in the
    picture; presence figures use all entries. Accuracy and latency come from the same run of the same engines.
    """
    from rich.console import Console

    from humar_edge.bundle import default_bundle_path
    from humar_edge.cli.progress import progress_bar
    from humar_edge.data.refhuman import RefHumanIndex
    from humar_edge.evaluation.evaluator import Evaluator
    from humar_edge.evaluation.predictors import open_predictor
    from humar_edge.evaluation.report import result_document, write_json, write_report
    from humar_edge.evaluation.run import choose_entries, evaluate, require_some
    from humar_edge.evaluation.tables import metric_tables

    index = RefHumanIndex.load(data, split)
    entries = choose_entries(index.entries, prompt, limit, seed)
    opened = open_predictor(model or default_bundle_path(), backend, threads)
    with closing(opened) as predictor, progress_bar("evaluating", len(entries)) as step:
        click.echo(f"{len(entries)} entries on {predictor.backend} ({predictor.device})", err=True)
        evaluator = Evaluator(threshold=predictor.threshold, keep_masks=report is not None)
        skipped = evaluate(predictor, entries, evaluator, prompt, step)
    require_some(entries, skipped)
    setup = {
        "model": str(model or "embedded"),
        "data": str(data),
        "split": split,
        "prompt": prompt,
        "backend": predictor.backend,
        "device": predictor.device,
        "threads": threads,
        "limit": limit,
        "seed": seed,
    }
    document = result_document(setup, evaluator, index.skipped + skipped)
    console = Console()
    for table in metric_tables(document):
        console.print(table)
    if json_file is not None:
        write_json(json_file, document)
        click.echo(f"wrote {json_file}", err=True)
    if report is not None:
        click.echo(f"wrote {write_report(report, document, evaluator)}", err=True)
