"""`humar-edge batch`: every video and picture below a folder, on several workers."""

from __future__ import annotations

import json
from pathlib import Path

import click

SHOWN = 10
"""Failed files that are named; the rest are counted."""


@click.command("batch")
@click.option("--source", required=True, type=click.Path(path_type=Path), help="Folder of videos and pictures.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--text", multiple=True, required=True, help="Words that describe one person; repeat for several people.")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle. [default: the embedded one]")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads per worker.")
@click.option("--address", help="Ray cluster: auto, or HOST:PORT. [default: this machine]")
@click.option("--backend", help="tensorrt, openvino or onnxruntime. [default: the best available]")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score from which a person is found.")
@click.option("--smooth/--no-smooth", default=None, help="Smooth keypoints. [default: except for pictures]")
@click.option("--masks", is_flag=True, help="Also put masks (COCO RLE) into the JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing summary as JSON.")
def command(
    source: Path,
    output: Path,
    text: tuple[str, ...],
    model: Path | None,
    workers: int,
    threads: int,
    address: str | None,
    backend: str | None,
    threshold: float | None,
    smooth: bool | None,
    masks: bool,
    as_json: bool,
) -> None:
    """Process a folder tree of videos and pictures on Ray workers; start it again to go on after a stop.

    \b
    humar-edge batch --source archive --output results --text "the man in red" --workers 4
    """
    from contextlib import ExitStack

    from humar_edge.batch import Summary, run_batch
    from humar_edge.cli.progress import progress_bar

    with ExitStack() as stack:
        steps = []

        def plan(todo: int, done: int) -> None:
            click.echo(f"{todo} files to process, {done} have their results already", err=True)
            steps.append(stack.enter_context(progress_bar("files", todo)))

        summary: Summary = run_batch(
            source,
            output,
            text,
            model=model,
            workers=workers,
            address=address,
            backend=backend,
            threads=threads,
            threshold=threshold,
            smooth=smooth,
            masks=masks,
            on_plan=plan,
            on_file=lambda name, frames, error: steps[0](),
        )
    if as_json:
        click.echo(json.dumps(summary.to_dict(), ensure_ascii=False))
    else:
        click.echo(f"{summary.files} files with {summary.frames} frames, {summary.skipped} skipped; wrote {output}")
    for name, error in list(summary.failed.items())[:SHOWN]:
        click.echo(f"failed: {name}: {error}", err=True)
    if summary.failed:
        click.echo(f"{len(summary.failed)} files failed; the next run tries them again", err=True)
        raise SystemExit(1)
