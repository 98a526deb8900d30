"""Exported engines of the light families agree with PyTorch in onnxruntime and in OpenVINO."""

from __future__ import annotations

from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from light_factory import FAMILIES, SMALL  # noqa: E402

from humar_edge.combos import Combo  # noqa: E402
from humar_edge.export.engines import Engine, positional_engine, vision_engine  # noqa: E402
from humar_edge.export.fp16 import in_fp32  # noqa: E402
from humar_edge.export.parity import TOLERANCES, arrays, check_export, compare, require, torch_run  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402
from humar_edge.runtime.runners import open_runner  # noqa: E402

SIZE = (64, 96)
Exported = dict[str, list[tuple[Engine, Any]]]


@pytest.fixture(scope="module")
def exported() -> Exported:
    """Family -> vision and positional engine, each with its ONNX model."""
    found: Exported = {}
    for family in FAMILIES:
        combo = Combo(family, "tite", "segformer_b0", best_for="", overrides=SMALL[family])
        source = open_source("ultra-light", combo, None, untrained=True, input_size=SIZE)
        found[family] = [(engine, to_onnx(engine)) for engine in (vision_engine(source), positional_engine(source))]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_engines_agree_in_onnxruntime(family: str, exported: Exported) -> None:
    for engine, model in exported[family]:
        check_export(engine, model)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_engines_agree_in_openvino(family: str, exported: Exported, tmp_path) -> None:
    pytest.importorskip("openvino")
    for engine, model in exported[family]:
        onnx.save(model, tmp_path / engine.file)
        with open_runner(tmp_path / engine.file, "openvino", threads=1) as runner:
            require(compare(torch_run(engine), runner.infer, arrays(engine), TOLERANCES), f"{engine.name} in OpenVINO")


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_are_static_and_of_opset_17(family: str, exported: Exported) -> None:
    for _, model in exported[family]:
        assert next(entry.version for entry in model.opset_import if not entry.domain) == 17
        sides = [side for value in model.graph.input for side in value.type.tensor_type.shape.dim]
        assert all(side.dim_value > 0 for side in sides)


@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_hold_standard_operators_only(family: str, exported: Exported) -> None:
    for _, model in exported[family]:
        assert not [node.name for node in model.graph.node if node.domain]


def test_sums_of_linear_attention_stay_in_fp32_in_reduced_graphs(exported: Exported) -> None:
    _, model = exported["efficient"][0]
    products = [node for node in model.graph.node if "linear_attention/MatMul" in node.name]
    assert len(products) == 3 * 5, "five attention blocks, three products each"
    assert all(in_fp32(node) for node in products)
    assert any("linear_attention/qkv" in node.name and not in_fp32(node) for node in model.graph.node)


def test_the_gate_over_words_needs_no_softmax(exported: Exported) -> None:
    _, model = exported["fully_conv"][0]
    assert not [node.name for node in model.graph.node if node.op_type == "Softmax" and "/fusion/" in node.name]
