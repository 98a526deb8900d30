"""TensorRT-RTX compiles every combination in FP32, FP16 and INT8, for one target; all of them: tools/check_table.py.

Runs where TensorRT-RTX is installed, or HUMAR_EDGE_RTX_PYTHON names an interpreter that has it.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from tool_loader import load_tool  # noqa: E402

from humar_edge.combos import COMBOS  # noqa: E402
from humar_edge.export.rtx import compile_onnx  # noqa: E402

PYTHON = os.environ.get("HUMAR_EDGE_RTX_PYTHON") or (sys.executable if find_spec("tensorrt_rtx") else None)
SIZE = 256
"""At 64 and 160 pixels TensorRT-RTX 1.7.1 crashed on the linear attention of `efficient`."""
TARGET = "SM89"
"""The one that compiles fastest."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PYTHON is None, reason="TensorRT-RTX is not installed")]


CHECK_TABLE = load_tool("check_table")


def pairs():
    """One combination for every engine that differs."""
    found = {}
    for engine in ("vision", "text"):
        for name, combo in COMBOS.items():
            found.setdefault(CHECK_TABLE.where(engine, combo), (engine, name))
    return [pytest.param(*pair, id=place) for place, pair in found.items()]


@pytest.mark.parametrize(("engine", "name"), pairs())
def test_compiles_in_every_precision(engine, name, tmp_path):
    for precision, model in CHECK_TABLE.graphs(engine, name, SIZE):
        path = tmp_path / f"{precision}.onnx"
        onnx.save(model, str(path))
        result = compile_onnx(path, [TARGET], PYTHON, 600)
        assert result["ok"], (precision, result)
