"""`humar-edge list` and `humar-edge info`."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from humar_edge.bundle import DEFAULT_BUNDLE
from humar_edge.cli.info import command as info
from humar_edge.cli.info import contract
from humar_edge.cli.list_ import command as list_
from humar_edge.cli.list_ import parse_size
from humar_edge.combos import BACKBONES, COMBOS
from humar_edge.errors import BundleError, ConfigError
from humar_edge.models.torchvision_guard import guard_torchvision


def need_models() -> None:
    """Skip where the libraries of the networks are not installed."""
    pytest.importorskip("torch")
    guard_torchvision()
    pytest.importorskip("timm")
    pytest.importorskip("transformers")


def test_list_names_every_component_and_combination(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(list_, [])
    assert result.exit_code == 0
    for name in (*COMBOS, *BACKBONES, "tite", "fully_conv_optim"):
        assert name in result.output


def test_list_works_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['timm'] = None\n"
        "from humar_edge.cli.main import main; sys.argv = ['humar-edge', 'list', *sys.argv[1:]]; main()"
    )
    plain = subprocess.run([sys.executable, "-c", code, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(plain.stdout)
    assert list(found["combos"]) == list(COMBOS)
    assert found["backbones"]["segformer_b0"]["channels"] == [32, 64, 160, 256]
    exact = subprocess.run([sys.executable, "-c", code, "--exact"], capture_output=True, text=True)
    assert exact.returncode == 2
    assert exact.stderr == "error: torch is not installed; run: pip install 'humar-edge[train]'\n"


def test_exact_counts_and_macs() -> None:
    need_models()
    result = CliRunner().invoke(list_, ["--combo", "edge-lite", "--imgsz", "96x160", "--json"])
    assert result.exit_code == 0
    row = json.loads(result.stdout)["combos"]["edge-lite"]
    assert row["parameters"]["backbone"] == 2_958_848
    assert row["parameters"]["total"] == sum(row["parameters"][part] for part in ("transformer", "text", "backbone"))
    assert row["gmacs"]["input_size"] == [96, 160]
    assert row["gmacs"]["vision"] > row["gmacs"]["backbone"] > 0.05


def test_exact_table_fits_a_terminal(monkeypatch) -> None:
    need_models()
    monkeypatch.setenv("COLUMNS", "80")
    names = ["--combo", "tite-ultra-light", "--combo", "higher-capacity-light"]
    result = CliRunner().invoke(list_, [*names, "--imgsz", "96"])
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    number = r"\s+\d+\.\d\dM"
    for start, end in ((r"7\s+tite-ultra-light", "6M"), (r"3\s+higher-capacity-light", "36M")):
        row = rf"\s*{start}{number * 4}\s+{end}\s+[+-]\d\.\d%"
        assert [line for line in lines if re.fullmatch(row, line)]
    assert "GMACs at 96x96" in lines
    assert not [line for line in lines if "…" in line or len(line) > 80]


def test_plain_tables_cut_nothing_off(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "…" not in CliRunner().invoke(list_, []).stdout


def test_sizes() -> None:
    assert parse_size("640") == (640, 640)
    assert parse_size("384x640") == (384, 640)
    for text in ("", "x", "12x", "1x2x3", "a", "-32", "²"):
        with pytest.raises(ConfigError, match="neither a number nor HEIGHTxWIDTH"):
            parse_size(text)


def test_unknown_names_and_sizes_are_refused() -> None:
    for command, arguments, message in (
        (list_, ["--combo", "edge-lit"], "did you mean edge-lite"),
        (info, ["--combo", "edge-lite", "--backbone", "segformer"], "did you mean segformer_b"),
    ):
        error = CliRunner().invoke(command, arguments).exception
        assert isinstance(error, ConfigError)
        assert message in str(error)
    assert "either a bundle's folder or --combo" in CliRunner().invoke(info, ["x", "--combo", "y"]).output


def test_contract_is_the_documented_one() -> None:
    engines = contract(128, (384, 640), 32, positional=True)
    assert list(engines["vision"]["inputs"]) == ["image", "text_tokens", "text_mask", "sentence"]
    assert engines["vision"]["inputs"]["image"] == ("uint8", [1, 384, 640, 3])
    assert engines["vision"]["outputs"]["mask"] == ("float32", [1, 96, 160])
    assert engines["positional"]["inputs"]["points"] == ("float32", [1, 12, 2])
    assert "positional" not in contract(128, (384, 640), 32, positional=False)


def test_info_of_a_combination() -> None:
    need_models()
    arguments = ["--combo", "edge-lite", "--imgsz", "96", "--text-encoder-type", "tite"]
    found = json.loads(CliRunner().invoke(info, [*arguments, "--json"]).stdout)
    assert found["components"]["text_encoder_type"] == "tite"
    assert found["parameters"]["text"] == 952_320
    assert set(found["memory_bytes"]) == {"FP32", "FP16", "INT8"}
    names = [layer["name"] for layer in found["layers"]]
    assert "backbone.body" in names
    assert any(name.startswith("transformer.") for name in names)
    text = CliRunner().invoke(info, arguments).output
    for part in ("GMACs", "text engine", "positional engine", "FP16", "transformer."):
        assert part in text


def test_info_of_a_bundle(make_tiny_bundle, tmp_path) -> None:
    make_tiny_bundle(tmp_path / "tiny", trained=False)
    found = json.loads(CliRunner().invoke(info, [str(tmp_path / "tiny"), "--json"]).stdout)
    assert found["contract"]["vision"]["inputs"]["image"][1] == [1, 96, 128, 3]
    assert found["file_bytes"]["vision.onnx"] > 0
    text = CliRunner().invoke(info, [str(tmp_path / "tiny")]).output
    assert "trained: no, random weights; licence: Apache-2.0" in text
    assert "are fixed" in CliRunner().invoke(info, [str(tmp_path / "tiny"), "--imgsz", "64"]).output
    (tmp_path / "tiny" / "text.onnx").write_bytes(b"")
    assert isinstance(CliRunner().invoke(info, [str(tmp_path / "tiny")]).exception, BundleError)


def test_info_of_a_bundle_estimates_its_memory(tiny_bundle) -> None:
    arguments = ["--model", str(tiny_bundle), "--vram", "4G"]
    found = json.loads(CliRunner().invoke(info, [*arguments, "--json"]).stdout)
    assert set(found["memory_bytes"]) == {"text", "vision", "positional"}
    verdict = found["vram"]["bundle"]
    assert verdict["fits"] and verdict["estimate"]
    assert verdict["engines"] == sum(sizes["total"] for sizes in found["memory_bytes"].values())
    assert "bundle fits into 4.0 GiB (estimate)" in CliRunner().invoke(info, arguments).output
    done = CliRunner().invoke(info, [*arguments[:2], "--vram", "256M"])
    assert done.exit_code == 0
    assert "bundle does not fit into 256 MiB (estimate)" in done.output
    assert isinstance(CliRunner().invoke(info, [*arguments[:2], "--vram", "lots"]).exception, ConfigError)
    assert "either a bundle" in CliRunner().invoke(info, [*arguments, str(tiny_bundle)]).output


def test_info_is_about_the_embedded_bundle_unless_told_otherwise() -> None:
    done = CliRunner().invoke(info, ["--vram", "4G", "--json"])
    found = json.loads(done.stdout)
    assert found["name"] == DEFAULT_BUNDLE and found["vram"]["bundle"]["fits"]


def test_info_of_a_combination_checks_every_precision() -> None:
    need_models()
    arguments = ["--combo", "edge-lite", "--imgsz", "96", "--text-encoder-type", "tite", "--vram", "4G", "--json"]
    found = json.loads(CliRunner().invoke(info, arguments).stdout)
    needs = {name: verdict["engines"] for name, verdict in found["vram"].items()}
    assert needs["FP32"] == found["memory_bytes"]["FP32"]["total"] + 4 * 952_320
    assert needs["FP32"] > needs["FP16"] > needs["INT8"]
