"""What FP16 and INT8 cost in accuracy, and what INT8 saves in time and size: one table from one checkpoint.

    python tools/precision_table.py --combo edge-lite --checkpoint runs/last --work bundles \\
        --calibration street_cal --data street_val --output docs/precision-table.md

Exports FP32, FP16 and INT8 bundles (or takes those that --work already holds), compares each with FP32 prompt by prompt
as `humar-edge compare` does, and times the vision engines and PyTorch in turns. Run it on an idle machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np
from user_errors import Command

from humar_edge.bundle import MANIFEST, Bundle
from humar_edge.cli.export import command as export_command
from humar_edge.cli.progress import progress_bar
from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.evaluation.compare import LIMITED, compare_predictors, fitting_backend
from humar_edge.evaluation.predictors import open_predictor
from humar_edge.evaluation.run import choose_entries
from humar_edge.export.engines import vision_engine
from humar_edge.export.parity import arrays
from humar_edge.export.session import export, image_size
from humar_edge.export.source import open_source
from humar_edge.files import write_text
from humar_edge.runtime.runners import open_runner

LIMITS = {"fp16": 0.002, "int8": 0.01}
"""What each precision may lose in each of `LIMITED`."""
LEAST_SPEEDUP = {"FP32": 1.6, "PyTorch": 3.0}
"""INT8 against them."""
LARGEST_SHARE = 0.30
"""Size of the INT8 vision engine over that of FP32."""
ROUNDS, CHUNK = 15, 8


def _bundle(precision: str, folder: Path, common: Sequence[str]) -> Bundle:
    """Export one precision, or take what is there."""
    if not (folder / MANIFEST).is_file():
        arguments = [*common, "--precision", precision, "--unverified", "--output", str(folder)]
        export(say=click.echo, bar=progress_bar, **export_command.make_context("export", arguments).params)
    return Bundle.load(folder)


def _accuracy(reference: Bundle, reduced: Bundle, entries: Sequence[Entry], limit: float) -> dict[str, Any]:
    backend = fitting_backend([reference.path, reduced.path])
    with (
        closing(open_predictor(reference.path, backend)) as first,
        closing(open_predictor(reduced.path, backend)) as second,
        progress_bar(f"comparing {reduced.path.name}", len(entries)) as step,
    ):
        found = compare_predictors(first, second, entries, max_drop=limit, on_step=step)
        return found.document({"backend": second.backend})


def _times(subjects: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Median milliseconds of every round; subjects take turns, so that a busy machine slows all alike."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(ROUNDS + 1):
        for name, run in subjects.items():
            times = []
            for _ in range(CHUNK):
                start = time.perf_counter()
                run()
                times.append((time.perf_counter() - start) * 1e3)
            if number:  # the first round warms up
                found[name].append(statistics.median(times))
    return found


def _speed(combo: str, checkpoint: Path, imgsz: str | None, bundles: dict[str, Bundle]) -> dict[str, list[float]]:
    import torch

    from humar_edge.combos import resolve

    source = open_source(combo, resolve(combo), checkpoint, input_size=image_size(imgsz))
    engine = vision_engine(source)
    feed = arrays(engine)[0]
    tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in feed.values()]

    def eager() -> None:
        with torch.inference_mode():
            engine.module(*tensors)

    runners = {name: open_runner(bundles[name].vision_engine) for name in ("fp32", "int8")}
    try:
        subjects: dict[str, Callable[[], object]] = {
            name: lambda runner=runner: runner.infer(feed)  # type: ignore[misc]
            for name, runner in runners.items()
        }
        return _times({"PyTorch": eager, **subjects})
    finally:
        for runner in runners.values():
            runner.close()


def _lines(accuracy: dict[str, dict[str, Any]], times: dict[str, list[float]], bundles: dict[str, Bundle]) -> list[str]:
    lines = ["| precision | metric | FP32 | reduced | drop | ± 95% | limit | |", "|---|---|---|---|---|---|---|---|"]
    for precision, document in accuracy.items():
        for name, figure in document["metrics"].items():
            interval = "" if figure["interval"] is None else f"{figure['interval']:.4f}"
            limit = f"{LIMITS[precision]:g}" if name in LIMITED else ""
            verdict = {True: "met", False: "**missed**", None: ""}[figure["passed"]]
            cells = (precision, name, f"{figure['a']:.4f}", f"{figure['b']:.4f}", f"{figure['drop']:+.4f}", interval)
            lines.append(f"| {' | '.join((*cells, limit, verdict))} |")
    count = next(iter(accuracy.values()))["entries"]
    backends = ", ".join(f"{name} on {document['setup']['backend']}" for name, document in accuracy.items())
    lines += ["", f"{count} prompts; {backends}. FP32 runs on the backend of its row.", ""]
    sizes = {name: bundle.vision_engine.stat().st_size for name, bundle in bundles.items()}
    lines += ["| vision engine | MB | of FP32 | ms | |", "|---|---|---|---|---|"]
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        size = f"{sizes[name] / 1e6:.2f} | {sizes[name] / sizes['fp32']:.3f}" if name in sizes else "- | -"
        lines.append(f"| {name} | {size} | {value:.1f} | |")
    lines.append(f"| fp16 | {sizes['fp16'] / 1e6:.2f} | {sizes['fp16'] / sizes['fp32']:.3f} | - | |")
    lines.append("")
    for name, least in LEAST_SPEEDUP.items():
        # Round by round: what else ran in a round slowed both.
        ratio = statistics.median(
            a / b for a, b in zip(times["fp32" if name == "FP32" else name], times["int8"], strict=True)
        )
        lines.append(
            f"* INT8 is {ratio:.2f}x as fast as {name} (median of {ROUNDS} rounds in turns; wanted {least:g}: "
            f"{'met' if ratio >= least else '**missed**'})"
        )
    share = sizes["int8"] / sizes["fp32"]
    verdict = "met" if share <= LARGEST_SHARE else "**missed**"
    lines.append(f"* INT8 has {share:.3f} of the size of FP32 (wanted {LARGEST_SHARE:g}: {verdict})")
    return lines


@click.command(cls=Command)
@click.option("--combo", default="edge-lite", show_default=True)
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True)
@click.option("--imgsz", help="H or H,W. [default: as trained]")
@click.option("--calibration", type=click.Path(path_type=Path), required=True, multiple=True)
@click.option("--calibration-images", default=256, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Its val split measures.")
@click.option("--limit", default=1000, show_default=True, help="Prompts.")
@click.option("--int8", default="int8", show_default=True, help="INT8 by this precision or plan.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder of the bundles.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Markdown file to write.")
def main(
    combo: str,
    checkpoint: Path,
    imgsz: str | None,
    calibration: tuple[Path, ...],
    calibration_images: int,
    data: Path,
    limit: int,
    int8: str,
    work: Path,
    output: Path,
) -> None:
    """Write the table; exit code 1 when a limit is missed."""
    entries = choose_entries(RefHumanIndex.load(data, "val").entries, "text", limit)
    size = ["--imgsz", imgsz] if imgsz else []
    common = ["--combo", combo, "--checkpoint", str(checkpoint), *size]
    common += [word for folder in calibration for word in ("--calibration", str(folder))]
    common += ["--calibration-images", str(calibration_images)]
    precisions = {"fp32": "fp32", "fp16": "fp16", "int8": int8}
    bundles = {name: _bundle(text, work / name, common) for name, text in precisions.items()}
    accuracy = {name: _accuracy(bundles["fp32"], bundles[name], entries, most) for name, most in LIMITS.items()}
    lines = _lines(accuracy, _speed(combo, checkpoint, imgsz, bundles), bundles)
    side = "x".join(map(str, bundles["fp32"].manifest.input_size))
    title = f"# Precision of {combo} at {side}\n\nMade by `python tools/precision_table.py` on {data.name} (val).\n\n"
    write_text(output, title + "\n".join(lines) + "\n")
    click.echo("\n".join(lines))
    if any("missed" in line for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
