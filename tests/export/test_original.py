"""UniPHD's engines with deformable attention written in three ways."""

from __future__ import annotations

from collections import Counter

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from humar_edge.combos import resolve  # noqa: E402
from humar_edge.export.deform_attn import OP_TYPE  # noqa: E402
from humar_edge.export.engines import engines  # noqa: E402
from humar_edge.export.fp16 import to_fp16  # noqa: E402
from humar_edge.export.parity import arrays, check_export, compare, onnx_run, require  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402


@pytest.fixture(scope="module")
def source():
    from dataclasses import replace

    small = {"encoder_layers": 1, "decoder_layers": 2, "hidden": 64, "queries": 4}
    combo = replace(resolve("original-light", text_encoder_type="tite", backbone="mobilevit_xxs"), overrides=small)
    return open_source("original-light", combo, None, untrained=True, input_size=(64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gather", "gridsample", "plugin"])
def test_engines_agree_with_torch(source, strategy):
    _, vision, positional = engines(source, ("text", "point"))
    model = to_onnx(vision, 17, strategy)
    check_export(vision, model)
    operators = Counter(node.op_type for node in model.graph.node)
    assert bool(operators["GridSample"]) == (strategy == "gridsample")
    assert bool(operators[OP_TYPE]) == (strategy == "plugin")
    assert [function.name for function in model.functions] == ([OP_TYPE] if strategy == "plugin" else [])
    if strategy == "gather":
        check_export(positional, to_onnx(positional))
    half = to_fp16(model)
    require(compare(onnx_run(model), onnx_run(half), arrays(vision)[:1], {"score": 0.02}), "half")
