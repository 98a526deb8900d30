"""Export every combination with random weights and tabulate size, agreement of the engines, and relative latency.

    python tools/variants_table.py --imgsz 320 --output docs/variants-table.md

Latency is that of the vision engine in OpenVINO, measured in pairs with `original-baseline` in the same process, so
that drifts of the machine cancel; the median of the pairwise ratios is printed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from humar_edge.combos import COMBOS, resolve
from humar_edge.export.engines import engines
from humar_edge.export.parity import TOLERANCES, arrays, check_export, compare, torch_run
from humar_edge.export.source import Source, open_source
from humar_edge.export.to_onnx import to_onnx
from humar_edge.models.summary import count
from humar_edge.runtime.runners import open_runner
from humar_edge.runtime.runners.base import Runner

BASELINE = "original-baseline"
HEADER = (
    "| combination | transformer | text | backbone | total | nodes text / vision | MB text / vision "
    "| onnxruntime | OpenVINO | time |"
)


def _parameters(source: Source) -> list[float]:
    network: Any = source.network
    text, backbone = count(source.encoder), count(network.backbone)
    whole = sum(parameter.numel() for parameter in network.parameters())
    return [(whole - text - backbone) / 1e6, text / 1e6, backbone / 1e6, whole / 1e6]


def _ratio(runner: Runner, baseline: Runner, feed: dict[str, np.ndarray], base: dict[str, np.ndarray], n: int) -> float:
    def clock(one: Runner, inputs: dict[str, np.ndarray]) -> float:
        start = time.perf_counter()
        one.infer(inputs)
        return time.perf_counter() - start

    clock(runner, feed)
    return statistics.median(clock(runner, feed) / clock(baseline, base) for _ in range(n))


@click.command()
@click.option("--imgsz", default=320, show_default=True, help="Side of the input.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Markdown file to write.")
@click.option("--pairs", default=5, show_default=True, help="Timed pairs per combination.")
@click.option("--threads", default=1, show_default=True)
def main(imgsz: int, output: Path, pairs: int, threads: int) -> None:
    """Write the table of all combinations."""
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        baseline: Runner | None = None
        base_feed: dict[str, np.ndarray] = {}
        for name in (BASELINE, *(combo for combo in COMBOS if combo != BASELINE)):
            source = open_source(name, resolve(name), None, untrained=True, input_size=(imgsz, imgsz))
            parameters = _parameters(source)
            nodes, sizes, worst = [], [], {"onnxruntime": 0.0, "openvino": 0.0}
            for engine in engines(source):
                model = to_onnx(engine)
                path = Path(scratch) / engine.file
                path.write_bytes(model.SerializeToString())
                nodes.append(str(len(model.graph.node)))
                sizes.append(f"{path.stat().st_size / 1e6:.1f}")
                feeds = arrays(engine)
                runner = open_runner(path, "openvino", threads)
                found = {
                    "onnxruntime": check_export(engine, model),
                    "openvino": compare(torch_run(engine), runner.infer, feeds, TOLERANCES),
                }
                for backend, differences in found.items():
                    shown = [d.maximum for d in differences if d.output not in ("mask", "text_tokens", "sentence")]
                    worst[backend] = max([worst[backend], *shown])
                if engine.name == "vision":
                    if baseline is None:
                        baseline, base_feed = runner, feeds[0]
                    ratio = _ratio(runner, baseline, feeds[0], base_feed, pairs)
                if runner is not baseline:
                    runner.close()
            cells = [name, *(f"{value:.2f}M" for value in parameters), " / ".join(nodes), " / ".join(sizes)]
            cells += [f"{worst['onnxruntime']:.1e}", f"{worst['openvino']:.1e}", f"{ratio:.3f}"]
            rows.append(f"| {' | '.join(cells)} |")
            click.echo(rows[-1])
    order = {combo: index for index, combo in enumerate(COMBOS)}
    rows.sort(key=lambda row: order[row.split(" | ")[0].removeprefix("| ")])
    lines = [HEADER, "|" + "---|" * 10, *rows]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
