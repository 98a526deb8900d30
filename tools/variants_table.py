"""Export every combination with random weights and tabulate size, agreement of the engines, and relative latency.

    python tools/variants_table.py --imgsz 256 --pairs 3 --output docs/variants-table.md

Differences are the largest over real-valued inputs. Time is what the vision engine takes in OpenVINO on one thread,
measured in pairs with `original-baseline` in the same process; the median of the pairwise ratios is printed. It is
counted as processor time, so that other programs of the machine do not change it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from user_errors import Command

from humar_edge.combos import COMBOS, resolve
from humar_edge.export.engines import engines
from humar_edge.export.parity import TOLERANCES, Difference, arrays, compare, onnx_run, torch_run
from humar_edge.export.source import Source, open_source
from humar_edge.export.to_onnx import to_onnx
from humar_edge.models.summary import count
from humar_edge.runtime.runners import open_runner
from humar_edge.runtime.runners.base import Runner

BASELINE = "original-baseline"
DETECTION = ("score", "box", "keypoints")
COLUMNS = (
    "combination",
    "transformer",
    "text",
    "backbone",
    "total",
    "nodes",
    "MB",
    "onnxruntime: text, person, mask",
    "OpenVINO: text, person, mask",
    "time",
)
PAGE = """# The combinations, measured

Written by

```sh
python tools/variants_table.py --imgsz {imgsz} --pairs {pairs} --output {output}
```

with random weights at {imgsz}x{imgsz}, torch {torch}, onnxruntime {onnxruntime} and OpenVINO {openvino} on a CPU.
[variants.md](variants.md) compares the parameters with the documented figures.

* transformer (heads and prompts included), text, backbone, total: parameters
* nodes, MB: nodes of the ONNX graphs and size of the files, text engine / vision engine, FP32
* onnxruntime, OpenVINO: largest difference of the engines to PyTorch over four captions and pictures; `text` is that of
  token and sentence features, `person` that of score, box and keypoints (all in 0 to 1), `mask` that of the logits as a
  share of the largest one. A `!` would mark a value over the tolerance of `humar-edge export`{over}
* time: of the vision engine in OpenVINO, one thread, as a multiple of that of `{baseline}` in the same process

{table}
"""


def _parameters(source: Source) -> list[float]:
    network: Any = source.network
    text, backbone = count(source.encoder), count(network.backbone)
    whole = sum(parameter.numel() for parameter in network.parameters())
    return [(whole - text - backbone) / 1e6, text / 1e6, backbone / 1e6, whole / 1e6]


def _worst(text: Sequence[Difference], vision: Sequence[Difference]) -> str:
    """Text features, person, and mask as a share of its largest value; `!` over the tolerance."""
    mask = next(item for item in vision if item.output == "mask")
    shown = (
        max(item.maximum for item in text),
        max(item.maximum for item in vision if item.output in DETECTION),
        mask.maximum / max(mask.scale, 1.0),
    )
    mark = "" if all(item.passed for item in (*text, *vision)) else " !"
    return ", ".join(f"{value:.0e}" for value in shown) + mark


def _ratio(runner: Runner, baseline: Runner, feed: dict[str, np.ndarray], base: dict[str, np.ndarray], n: int) -> float:
    def clock(one: Runner, inputs: dict[str, np.ndarray]) -> float:
        start = time.process_time()
        one.infer(inputs)
        return time.process_time() - start

    clock(runner, feed)
    return statistics.median(clock(runner, feed) / clock(baseline, base) for _ in range(n))


@click.command(cls=Command)
@click.option("--imgsz", default=256, show_default=True, help="Side of the input.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Markdown file to write.")
@click.option("--pairs", default=5, show_default=True, help="Timed pairs per combination.")
def main(imgsz: int, output: Path, pairs: int) -> None:
    """Write the table of all combinations."""
    rows: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        baseline: Runner | None = None
        base_feed: dict[str, np.ndarray] = {}
        for name in (BASELINE, *(combo for combo in COMBOS if combo != BASELINE)):
            source = open_source(name, resolve(name), None, untrained=True, input_size=(imgsz, imgsz))
            nodes, sizes = [], []
            found: dict[str, list[list[Difference]]] = {"onnxruntime": [], "openvino": []}
            for engine in engines(source):
                model = to_onnx(engine)
                path = Path(scratch) / engine.file
                path.write_bytes(model.SerializeToString())
                nodes.append(str(len(model.graph.node)))
                sizes.append(f"{path.stat().st_size / 1e6:.1f}")
                feeds, reference = arrays(engine), torch_run(engine)
                runner = open_runner(path, "openvino", 1)
                for backend, run in (("onnxruntime", onnx_run(model)), ("openvino", runner.infer)):
                    found[backend].append(compare(reference, run, feeds, TOLERANCES))
                if engine.name == "vision":
                    if baseline is None:
                        baseline, base_feed = runner, feeds[0]
                    ratio = _ratio(runner, baseline, feeds[0], base_feed, pairs)
                if runner is not baseline:
                    runner.close()
            cells = [f"`{name}`", *(f"{value:.2f}M" for value in _parameters(source))]
            cells += [" / ".join(nodes), " / ".join(sizes), *(_worst(*pair) for pair in found.values()), f"{ratio:.3f}"]
            rows[name] = f"| {' | '.join(cells)} |"
            click.echo(rows[name])
    heading = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    page = PAGE.format(
        imgsz=imgsz,
        pairs=pairs,
        output=output.as_posix(),
        baseline=BASELINE,
        over="" if any("!" in row for row in rows.values()) else "; there is none",
        table="\n".join([*heading, *(rows[name] for name in COMBOS)]),
        **{package: version(package).split("+")[0] for package in ("torch", "onnxruntime", "openvino")},
    )
    output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
