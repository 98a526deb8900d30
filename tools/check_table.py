"""Export every combination in every precision and compile it with TensorRT-RTX; one table of what passed.

    HUMAR_EDGE_RTX_PYTHON=/path/to/python python tools/check_table.py --output docs/rtx-check-table.md --state FILE

Combinations share parts: vision and positional engines depend on transformer and backbone, text engines on transformer
and text encoder, so each pair is exported and compiled once, and every combination gets a row. The table is rewritten
after every engine; with --state an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import onnx
from user_errors import Command

from humar_edge.calibration.ranges import collect_ranges
from humar_edge.combos import COMBOS, Combo, resolve
from humar_edge.export.engines import ENGINES
from humar_edge.export.fp16 import to_fp16
from humar_edge.export.int8 import activations
from humar_edge.export.parity import arrays, check_export
from humar_edge.export.plan import PLANS
from humar_edge.export.reduce import reduced
from humar_edge.export.rtx import DISCLAIMER, LIMITS, TIMEOUT, compile_onnx, limited, targets_of
from humar_edge.export.source import open_source
from humar_edge.export.to_onnx import to_onnx
from humar_edge.export.weights import compress_weights
from humar_edge.files import write_text

PRECISIONS = ("fp32", "fp16", "int8")
TEXT: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": lambda model: model,
    "fp16": to_fp16,
    "int8": compress_weights,
}
HEADING = """Every combination, random weights, {imgsz} px, compiled by TensorRT-RTX {version} for {targets}. Made by
`python tools/check_table.py`. Engines that combinations share are compiled once. {disclaimer}

"ok, not SM75": TensorRT-RTX has no FP32 matrix products on Turing, whatever the graph (TensorRT has). The FP16 and INT8
graphs keep some in FP32 on purpose: coordinates, scores, matrices that crop and paste. At 64 and 160 px 1.7.1 crashed
on the linear attention of `efficient`; use 256 px or more."""
Results = dict[str, dict[str, Any]]


def where(engine: str, combo: Combo) -> str:
    """What makes an engine differ from those of other combinations."""
    other = combo.text_encoder_type if engine == "text" else combo.backbone
    sizes = "".join(f" {name} {value}" for name, value in combo.overrides.items())
    return f"{engine}, {combo.transformer_type}{sizes} + {other}"


def graphs(engine: str, name: str, imgsz: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    # The text encoder does not matter to the other engines: the smallest serves.
    combo = resolve(name) if engine == "text" else resolve(name, text_encoder_type="tite")
    made = ENGINES[engine](open_source(name, combo, None, untrained=True, input_size=(imgsz, imgsz)))
    model = to_onnx(made)
    check_export(made, model)
    if engine == "text":
        yield from ((precision, TEXT[precision](model)) for precision in PRECISIONS)
        return
    ranges = collect_ranges(model, activations(model, PLANS["int8"]), arrays(made)).values("minmax")
    yield from ((precision, reduced(model, PLANS[precision], ranges)) for precision in PRECISIONS)


def _cell(result: dict[str, Any]) -> str:
    """`ok`, or the targets that did not compile."""
    if "built" not in result:
        return f"FAILED ({result['stage']})"
    failed = {target: built for target, built in result["built"].items() if not built["ok"]}
    hard = [target for target, built in failed.items() if not limited(target, built)]
    if hard:
        return f"FAILED ({', '.join(hard)})"
    return f"ok, not {', '.join(failed)}" if failed else "ok"


def _failures(result: dict[str, Any]) -> Iterator[str]:
    """What did not compile: the node for limits of the compiler, else its message."""
    if "built" not in result:
        yield f"{result['stage']}: {'; '.join(result['errors'])[:400]}"
    for target, built in result.get("built", {}).items():
        if built["ok"]:
            continue
        node = re.search(r"operation '([^']+)'", built["errors"][0])
        if limited(target, built) and node:
            yield f"{LIMITS[target]} on {target}, node `{node[1]}`"
        else:
            yield f"{target}: {built['errors'][0][:400]}"


def _document(results: Results, engines: tuple[str, ...], heading: str) -> str:
    titles = [f"{engine} {precision}" for engine in engines for precision in PRECISIONS]
    lines = ["# TensorRT-RTX compile check", "", heading, ""]
    lines += [f"| combination | {' | '.join(titles)} |", "|" + "---|" * (len(titles) + 1)]
    for name, combo in COMBOS.items():
        keys = [f"{where(engine, combo)}, {precision}" for engine in engines for precision in PRECISIONS]
        row = [_cell(results[key]) if key in results else "-" for key in keys]
        lines.append(f"| {name} | {' | '.join(row)} |")
    failures: dict[str, list[str]] = defaultdict(list)
    for key, result in results.items():
        for failure in _failures(result):
            failures[failure].append(key)
    if failures:
        lines += ["", "## Exceptions", "", "The first node that the builder names, and where.", ""]
        lines += [f"* {what}: {'; '.join(_merged(places))}" for what, places in failures.items()]
    return "\n".join(lines) + "\n"


def _merged(places: list[str]) -> list[str]:
    """`a, fp32` and `a, fp16` as `a (fp32, fp16)`."""
    found: dict[str, list[str]] = defaultdict(list)
    for place in places:
        engine, precision = place.rsplit(", ", 1)
        found[engine].append(precision)
    return [f"{engine} ({', '.join(precisions)})" for engine, precisions in found.items()]


@click.command(cls=Command)
@click.option("--imgsz", default=256, show_default=True, help="Side of the input.")
@click.option("--targets", default="7.5,8.6,8.9,12.0", show_default=True, help="Compute capabilities.")
@click.option("--engines", default="vision,text,positional", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Markdown file to write.")
@click.option("--state", type=click.Path(path_type=Path), help="JSON file of the results, to go on with later.")
def main(imgsz: int, targets: str, engines: str, output: Path, state: Path | None) -> None:
    """Write the table of all combinations; exit code 1 when an engine does not compile."""
    python = os.environ.get("HUMAR_EDGE_RTX_PYTHON", sys.executable)
    names, chosen = targets_of(targets), tuple(engines.split(","))
    results: Results = json.loads(state.read_text()) if state and state.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "engine.onnx"
        for engine in chosen:
            for name, combo in COMBOS.items():
                place = where(engine, combo)
                if all(f"{place}, {precision}" in results for precision in PRECISIONS):
                    continue
                for precision, model in graphs(engine, name, imgsz):
                    onnx.save(model, str(path))
                    start = time.perf_counter()
                    result = compile_onnx(path, names, python, TIMEOUT)
                    results[f"{place}, {precision}"] = result
                    click.echo(f"{place}, {precision}: {_cell(result)} ({time.perf_counter() - start:.0f} s)")
                    if state:
                        write_text(state, json.dumps(results, indent=1) + "\n")
                    version = result.get("version", "?")
                    heading = HEADING.format(
                        version=version, targets=", ".join(names), imgsz=imgsz, disclaimer=DISCLAIMER
                    )
                    write_text(output, _document(results, chosen, heading))
    if any(_cell(result).startswith("FAILED") for result in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
