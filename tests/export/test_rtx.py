"""The TensorRT-RTX check: what it reports, with and without the compiler."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from humar_edge.errors import ConfigError, MissingExtraError
from humar_edge.export import rtx


def stand_in(tmp_path, line):
    """A compiler that prints a line."""
    path = tmp_path / "compiler"
    path.write_text(f"#!{sys.executable}\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_targets():
    assert rtx.targets_of("8.6, 12.0") == ["SM86", "SM120"]
    for text in ("", "8.7"):
        with pytest.raises(ConfigError, match="choose of"):
            rtx.targets_of(text)


def test_report_of_every_engine(tmp_path, tiny_bundle):
    built = {"SM75": {"ok": False, "errors": ["x FP32 GEMM is not supported"]}, "SM86": {"ok": True, "plan_bytes": 9}}
    python = stand_in(tmp_path, f"print('noise'); print({json.dumps(json.dumps({'ok': False, 'built': built}))})")
    found = rtx.check_bundle(tiny_bundle, ["SM75", "SM86"], python)
    assert [check.engine for check in found] == ["vision.onnx", "text.onnx", "positional.onnx"]
    assert all(check.ok and sum(check.operators.values()) for check in found)


def test_both_parts_of_a_split_bundle_are_compiled(tmp_path, make_tiny_bundle):
    python = stand_in(tmp_path, f"print({json.dumps(json.dumps({'built': {'SM86': {'ok': True}}}))})")
    found = rtx.check_bundle(make_tiny_bundle(tmp_path / "b", split=True).path, ["SM86"], python)
    assert {"features.onnx", "prompt.onnx"} <= {check.engine for check in found}


def test_a_failed_target_fails_the_check(tmp_path, tiny_bundle):
    built = {"SM86": {"ok": False, "errors": ["FP32 GEMM is not supported"]}}
    python = stand_in(tmp_path, f"print({json.dumps(json.dumps({'ok': False, 'built': built}))})")
    assert not any(check.ok for check in rtx.check_bundle(tiny_bundle, ["SM86"], python))


def test_an_aborting_compiler_is_a_result(tmp_path, tiny_bundle):
    python = stand_in(tmp_path, "import os; os.abort()")
    check = rtx.check_bundle(tiny_bundle, ["SM86"], python)[0]
    assert not check.ok and check.result["stage"] == "crash"


def test_a_hanging_compiler_is_stopped(tmp_path, tiny_bundle):
    python = stand_in(tmp_path, "import time; time.sleep(60)")
    check = rtx.check_bundle(tiny_bundle, ["SM86"], python, timeout=0.5)[0]
    assert not check.ok and "no plan after" in check.result["errors"][0]


def test_missing_compiler(monkeypatch, tiny_bundle):
    monkeypatch.delenv("HUMAR_EDGE_RTX_PYTHON", raising=False)
    monkeypatch.setattr(rtx, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"humar-edge\[rtx\]"):
        rtx.check_bundle(tiny_bundle, ["SM86"])


def test_real_compiler(tiny_bundle):
    pytest.importorskip("tensorrt_rtx")
    for check in rtx.check_bundle(tiny_bundle, ["SM86"]):
        assert check.ok, check.result
