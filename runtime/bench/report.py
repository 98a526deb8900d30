"""The same figures as tables for people, Markdown, CSV, JSON and a plot."""

from __future__ import annotations

import csv
import io
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from humar_edge import __version__
from humar_edge.errors import MissingExtraError
from humar_edge.files import write
from humar_edge.runtime.bench.measure import Measured, Plan
from humar_edge.runtime.bench.process import cores, cpu_name
from humar_edge.runtime.bench.statistics import Summary
from humar_edge.runtime.memory import MIB, Verdict

STAGES = ("preprocess", "inference", "postprocess", "encode", "h2d", "compute", "d2h", "enqueue")
TOTALS = ("total", "total_new_prompt")
STATISTICS = ("p50", "p90", "p95", "p99", "mean", "min", "max")

MEMORY_COLUMNS = (
    ("process +", "process", "growth"),
    ("process peak", "process", "peak"),
    ("GPU engine", "gpu", "engine"),
    ("GPU activations", "gpu", "activations"),
    ("GPU total", "gpu", "device_total"),
    ("GPU peak", "gpu", "device_peak"),
    ("estimate: weights", "graph", "weights"),
    ("estimate: activations", "graph", "activations"),
    ("estimate: total", "graph", "total"),
)
"""Header, group and key of `Measured.memory`."""


@dataclass(frozen=True)
class Table:
    """A table of texts; the first `words` columns are left-aligned."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def without_empty(self) -> Table:
        """Without the columns in which no row says anything."""
        keep = [i for i in range(len(self.header)) if i < self.words or any(row[i] for row in self.rows)]
        rows = tuple(tuple(row[i] for i in keep) for row in self.rows)
        return replace(self, header=tuple(self.header[i] for i in keep), rows=rows)


def tables(results: Sequence[Measured]) -> list[Table]:
    """Latency, its parts, and memory, one row per subject."""
    return [_latency(results), _parts(results), _memory(results)]


def _latency(results: Sequence[Measured]) -> Table:
    header = ("model", "backend", *STATISTICS, "fps", "new prompt p50", "ratio", "W")
    rows = tuple(
        (
            f"{item.label.model} {item.label.precision} {item.label.size}",
            f"{item.label.backend} {item.label.version}",
            *(_ms(getattr(item.stages["total"], name)) for name in STATISTICS),
            f"{item.fps:.1f}",
            _ms(item.stages["total_new_prompt"].p50),
            str(item.ratio or "1 (reference)"),
            f"{item.watts[0]:.1f}" if item.watts else "",
        )
        for item in results
    )
    return Table("Frame to person, prompt cached (ms)", header, rows, words=2).without_empty()


def _parts(results: Sequence[Measured]) -> Table:
    rows = tuple(
        (
            item.label.model,
            f"{item.label.backend} {item.label.precision}",
            *(f"{_ms(s.p50)} / {_ms(s.p99)}" if (s := item.stages.get(stage)) else "" for stage in STAGES),
        )
        for item in results
    )
    return Table("Parts, p50 / p99 (ms)", ("model", "backend", *STAGES), rows, words=2).without_empty()


def _memory(results: Sequence[Measured]) -> Table:
    rows = tuple(
        (
            item.label.model,
            f"{item.label.backend} {item.label.precision}",
            *(_mib(item.memory.get(group, {}).get(key)) for _, group, key in MEMORY_COLUMNS),
        )
        for item in results
    )
    header = ("model", "backend", *(name for name, _, _ in MEMORY_COLUMNS))
    return Table("Memory (MiB)", header, rows, words=2).without_empty()


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _mib(value: int | None) -> str:
    return "" if value is None else f"{value / MIB:.1f}"


def conditions(plan: Plan, threads: int | None) -> dict[str, Any]:
    """How and where it was measured."""
    return {
        "humar_edge": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": cores(),
        "threads": threads,
        "date": time.strftime("%Y-%m-%d"),
        "plan": asdict(plan),
    }


def lines(results: Sequence[Measured], vram: int | None = None) -> list[str]:
    """Diagnosis, power, the check against a GPU's memory, and what to keep in mind."""
    common = [finding for finding in results[0].findings if all(finding in item.findings for item in results)]
    found = [f"{finding.name}: {finding.text}" for finding in common]
    for item in results:
        found += [f"{item.label}: {finding.name}: {finding.text}" for finding in item.findings if finding not in common]
        if vram is not None:
            verdict = vram_verdict(item, vram)
            found.append(f"{item.label}: {verdict or 'no memory figure to hold against --vram'}")
    found += sorted({f"power from {item.watts[1]}" for item in results if item.watts})
    untrained = sorted({item.label.model for item in results if not item.label.trained})
    if untrained:
        found.append(f"untrained, with random weights: {', '.join(untrained)}; only latency and memory mean anything")
    if any(item.memory.get("graph") for item in results):
        found.append("memory columns called 'estimate' are worked out from the graph, not measured")
    return found


def vram_verdict(item: Measured, limit: int) -> Verdict | None:
    """Whether the engines fit into a GPU of `limit` bytes; None when nothing is known."""
    if item.engine_bytes is None:
        return None
    return Verdict(limit, item.engine_bytes, estimate=not item.on_gpu)


def to_json(results: Sequence[Measured], where: dict[str, Any], vram: int | None = None) -> dict[str, Any]:
    """Plain data of everything."""
    rows = []
    for item in results:
        verdict = vram_verdict(item, vram) if vram is not None else None
        rows.append({**item.to_dict(), **({"vram": verdict.to_dict()} if verdict else {})})
    return {"conditions": where, "results": rows}


def to_markdown(results: Sequence[Measured], where: dict[str, Any], vram: int | None = None) -> str:
    """Tables and diagnosis."""
    plan = where["plan"]
    threads = f"threads: {where['threads'] or 'as the backend likes'}"
    text = [
        f"{where['processor']}, {where['cores']} cores, {threads}, humar-edge {where['humar_edge']}, "
        f"{where['date']}. At least {plan['iterations']} frames and {plan['seconds']:g} s each, in turns.",
    ]
    for table in tables(results):
        rule = ["---" if i < table.words else "---:" for i in range(len(table.header))]
        rows = [table.header, rule, *table.rows]
        text.append(f"**{table.title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    notes = lines(results, vram)
    if notes:
        text.append("\n".join(f"* {line}" for line in notes))
    return "\n\n".join(text) + "\n"


def to_csv(results: Sequence[Measured]) -> str:
    """One row per subject, milliseconds and bytes."""
    rows = []
    for item in results:
        label = item.label
        row: dict[str, Any] = {
            **{key: getattr(label, key) for key in label.__dataclass_fields__},
            "input_size": label.size,
            "iterations": item.stages["total"].count,
            "fps": round(item.fps, 3),
            "ratio": round(item.ratio.value, 4) if item.ratio else 1,
            "watts": round(item.watts[0], 3) if item.watts else "",
            "diagnosis": " ".join(finding.name for finding in item.findings),
        }
        for stage in (*TOTALS, *STAGES):
            row |= _columns(stage, item.stages.get(stage))
        for _, group, key in MEMORY_COLUMNS:
            name = f"{'estimate' if group == 'graph' else group}_{key}_bytes"
            row[name] = item.memory.get(group, {}).get(key, "")
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _columns(stage: str, summary: Summary | None) -> dict[str, Any]:
    return {f"{stage}_{name}_ms": round(getattr(summary, name), 4) if summary else "" for name in STATISTICS}


def csv_name(results: Sequence[Measured]) -> str:
    """A file name that says precision, size, versions and device, so that committed results speak for themselves."""
    labels = [item.label for item in results]

    def joined(values: Sequence[str]) -> str:
        return "+".join(_slug(value) for value in dict.fromkeys(values))

    versions = joined([f"{label.backend}{label.version}" for label in labels])
    parts = (
        "bench",
        joined([label.precision for label in labels]),
        joined([label.size for label in labels]),
        f"humar{__version__}",
        versions,
        joined([label.device for label in labels]),
    )
    return "-".join(parts)[:200] + ".csv"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", re.sub(r"\(R\)|\(TM\)|CPU|@", "", text).lower()).strip("_")


def plot(results: Sequence[Measured], path: Path) -> None:
    """Bars of the median with its stages, marks at p90 and p99, as PNG, SVG or PDF by the file's ending.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SinkError: The file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "eval") from error
    figure = Figure(figsize=(8.0, 1.2 + 0.5 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = range(len(results))
    left = [0.0] * len(results)
    for stage in ("preprocess", "inference", "postprocess"):
        widths = [item.stages[stage].p50 for item in results]
        axes.barh(rows, widths, left=left, height=0.6, label=stage)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for name, mark in (("p90", "|"), ("p99", "x")):
        values = [getattr(item.stages["total"], name) for item in results]
        axes.scatter(values, rows, marker=mark, color="black", label=f"total {name}", zorder=3)
    axes.set_yticks(rows, [str(item.label) for item in results])
    axes.invert_yaxis()
    axes.set(xlabel="ms per frame, prompt cached", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize="small")
    write(path, lambda temporary: figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=120))
