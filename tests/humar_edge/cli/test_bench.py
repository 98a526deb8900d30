"""`humar-edge bench` on the tiny bundle, a small combination, and what it refuses."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from humar_edge.cli.bench import command
from humar_edge.errors import BundleError, CheckpointError, ConfigError, HumarError

QUICK = ["--iterations", "4", "--seconds", "0", "--warmup", "1", "--frame", "90x160", "--threads", "1"]


def bench(*arguments: object, quick: bool = True):
    return CliRunner().invoke(command, [*map(str, arguments), *(QUICK if quick else [])])


def test_everything_is_written(tiny_bundle, tmp_path):
    pytest.importorskip("matplotlib")
    files = {"--json": "b.json", "--csv": "results", "--markdown": "b.md", "--plot": "b.png"}
    arguments = [part for option, name in files.items() for part in (option, tmp_path / name)]
    done = bench("--model", tiny_bundle, "--backend", "openvino", "--vram", "4G", *arguments)
    assert done.exit_code == 0, done.output
    for part in ("p50", "p99", "new prompt p50", "postprocess", "estimate: total", "fits into 4.0 GiB (estimate)"):
        assert part in done.output
    (table,) = (tmp_path / "results").glob("bench-fp32-96x128-humar*-openvino*.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["model"], row["backend"], row["iterations"]) == ("tiny", "openvino", "20")
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["conditions"]["threads"] == 1
    assert found["results"][0]["vram"]["fits"]
    assert "| tiny fp32 96x128 |" in (tmp_path / "b.md").read_text()
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_json_alone_on_standard_output(tiny_bundle):
    done = bench("--model", tiny_bundle, "--backend", "openvino", "--json", "-")
    assert json.loads(done.stdout)["results"][0]["model"] == "tiny"
    assert "p50" in done.stderr


def test_two_bundles_in_one_table(tiny_bundle, make_tiny_bundle, tmp_path):
    make_tiny_bundle(tmp_path / "other", input_size=(64, 64), trained=False)
    done = bench("--model", tiny_bundle, "--model", tmp_path / "other", "--backend", "openvino", "--json", "-")
    first, second = json.loads(done.stdout)["results"]
    assert (first["input_size"], second["input_size"]) == ([96, 128], [64, 64])
    assert first["ratio"] is None and second["ratio"]["value"] > 0
    assert "untrained, with random weights: tiny" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--backend", "cuda"], ConfigError, "unknown backend 'cuda'; known: tensorrt, openvino, onnxruntime, torch"),
        (["--combo", "ultra-lihgt"], ConfigError, "did you mean ultra-light"),
        (["--model", "absent"], BundleError, "absent: no such bundle"),
        (["--model", "absent", "--imgsz", "64"], ConfigError, "a bundle's precision and size are fixed"),
        (["--model", "absent", "--backend", "torch"], ConfigError, "needs --combo NAME"),
        (["--model", "m", "--combo", "mobile", "--backend", "torch"], ConfigError, "bundles need another backend"),
        (["--checkpoint", "absent"], CheckpointError, "does not say its combination"),
        (["--combo", "edge-lite", "--combo", "mobile", "--checkpoint", "x"], ConfigError, "weights of one --combo"),
        (["--vram", "much"], ConfigError, "4G or 512M"),
        (["--combo", "original-light", "--backend", "torch"], ConfigError, "original transformer"),
    ],
)
def test_what_is_refused(arguments, kind, message):
    error = bench(*arguments).exception
    assert isinstance(error, HumarError)
    assert isinstance(error, kind)
    assert message in str(error)


@pytest.mark.slow
def test_a_combination_against_pytorch():
    """Exported with random weights on the way, and said to be; PyTorch is the reference."""
    for module in ("torch", "onnx", "onnxsim", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    # After torch: a torchvision of another build would break them.
    pytest.importorskip("humar_edge.models.backbones")
    pytest.importorskip("transformers")
    arguments = ["--combo", "edge-lite", "--imgsz", "64", "--backend", "openvino", "--backend", "torch", "--json", "-"]
    done = bench(*arguments)
    assert done.exit_code == 0, done.output
    eager, engine = json.loads(done.stdout)["results"]
    assert (eager["backend"], engine["backend"]) == ("torch", "openvino")
    assert eager["input_size"] == engine["input_size"] == [64, 64]
    assert not eager["trained"] and not engine["trained"]
    assert engine["ratio"]["value"] > 0
    assert "exporting edge-lite in fp32 with random weights (untrained" in done.stderr
    assert engine["memory_bytes"]["graph_estimate"]["weights"] > 1_000_000
