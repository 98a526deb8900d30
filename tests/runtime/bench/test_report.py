"""Tables, files and names of made-up results."""

from __future__ import annotations

import csv
import io
import json

import pytest

from humar_edge import __version__
from humar_edge.errors import SinkError
from humar_edge.runtime.bench import report
from humar_edge.runtime.bench.diagnose import Finding
from humar_edge.runtime.bench.measure import Plan
from humar_edge.runtime.memory import GIB, MIB


def test_tables_show_every_statistic_and_no_empty_column(pair):
    latency, parts, memory = report.tables(pair)
    assert latency.header[2:9] == ("p50", "p90", "p95", "p99", "mean", "min", "max")
    assert latency.rows[0][2:9] == ("20.00", "28.00", "29.00", "29.80", "20.00", "10.00", "30.00")
    assert [row[-2:] for row in latency.rows] == [("1 (reference)", ""), ("0.50 (0.45-0.55)", "12.3")]
    assert "compute" in parts.header and parts.rows[0][parts.header.index("compute")] == ""
    assert memory.rows[1][memory.header.index("GPU peak")] == "60.0"
    assert memory.rows[0][memory.header.index("estimate: total")] == "26.0"
    latency, parts, memory = report.tables(pair[:1])
    assert "W" not in latency.header
    assert "h2d" not in parts.header
    assert not any("GPU" in name for name in memory.header)


def test_lines_say_what_is_an_estimate_and_what_is_untrained(pair):
    text = "\n".join(report.lines(pair, 4 * GIB))
    assert "small fp32 384x640 on openvino: fits into 4.0 GiB (estimate): 26 MiB engines" in text
    assert "small fp16 384x640 on tensorrt: fits into 4.0 GiB (measured): 60 MiB engines" in text
    assert "on tensorrt: transfer-bound: copies take long" in text
    assert "untrained, with random weights: small" in text
    assert "power from nvidia-smi" in text
    assert "does not fit into 512 MiB" in "\n".join(report.lines(pair, 512 * MIB))


def test_a_finding_about_all_is_said_once(pair):
    busy = Finding("busy-machine", "load average 9")
    for item in pair:
        item.findings = [busy, *item.findings]
    assert [line for line in report.lines(pair) if "load" in line] == ["busy-machine: load average 9"]


def test_without_a_memory_figure_the_check_says_so(result):
    item = result("torch")
    item.memory["graph"] = {}
    assert any("no memory figure" in line for line in report.lines([item], 4 * GIB))


def test_csv_and_its_name(pair):
    name = report.csv_name(pair)
    versions = f"humar{__version__}-openvino1.2.3+tensorrt1.2.3"
    assert name == f"bench-fp32+fp16-384x640-{versions}-intel_xeon_2.20ghz+nvidia_geforce_rtx_3060.csv"
    rows = list(csv.DictReader(io.StringIO(report.to_csv(pair))))
    assert [row["backend"] for row in rows] == ["openvino", "tensorrt"]
    assert rows[0]["total_p99_ms"] == "29.8"
    assert rows[0]["compute_p50_ms"] == "" and rows[1]["compute_p50_ms"] == "2.0"
    assert rows[1]["ratio"] == "0.5" and rows[1]["diagnosis"] == "transfer-bound"
    assert rows[0]["estimate_total_bytes"] == str(26 * MIB)
    assert rows[1]["gpu_device_peak_bytes"] == str(60 * MIB)


def test_json_and_markdown(pair):
    where = report.conditions(Plan(), threads=None)
    found = json.loads(json.dumps(report.to_json(pair, where, 4 * GIB)))
    first, second = found["results"]
    assert first["latency_ms"]["total"]["p95"] == 29
    assert first["memory_bytes"]["graph_estimate"]["total"] == 26 * MIB
    assert first["vram"]["estimate"] and not second["vram"]["estimate"]
    assert second["power"] == {"watts": 12.34, "source": "nvidia-smi"}
    assert found["conditions"]["plan"]["iterations"] == 200
    text = report.to_markdown(pair, where)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables[:4]}) == 1
    assert "At least 200 frames and 3 s each, in turns" in text


def test_plot(pair, tmp_path):
    pytest.importorskip("matplotlib")
    report.plot(pair, tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SinkError, match=r"bench\.nonsense"):
        report.plot(pair, tmp_path / "bench.nonsense")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
