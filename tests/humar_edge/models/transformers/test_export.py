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
from humar_edge.export.fp16 import in_fp32, to_fp16  # noqa: E402
from humar_edge.export.graph import inferred, path_of  # noqa: E402
from humar_edge.export.int8 import quantizable  # noqa: E402
from humar_edge.export.parity import TOLERANCES, arrays, check_export, compare, require, torch_run  # noqa: E402
from humar_edge.export.plan import PLANS, Plan  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402
from humar_edge.runtime.runners import open_runner  # noqa: E402

SIZE = (64, 96)
HALF = onnx.TensorProto.FLOAT16
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
    assert len(products) == 3 * 4, "four attention blocks, three products each"
    assert all(in_fp32(node) for node in products)
    assert any("linear_attention/qkv" in node.name and not in_fp32(node) for node in model.graph.node)


def test_the_gate_over_words_needs_no_softmax(exported: Exported) -> None:
    _, model = exported["fully_conv"][0]
    assert not [node.name for node in model.graph.node if node.op_type == "Softmax" and "/fusion/" in node.name]


CHOICES = {"TopK", "ArgMax", "MaxPool", "Less", "GatherElements", "Sigmoid", "Log", "Sin", "Cos", "Tanh"}
"""Operators of ranks, coordinates and comparisons in what is neither backbone nor neck."""


@pytest.mark.parametrize("family", FAMILIES)
def test_places_and_choices_stay_in_fp32_in_fp16_graphs(family: str, exported: Exported) -> None:
    for engine, model in exported[family]:
        half = to_fp16(model)
        types, _ = inferred(half)
        seen: set[str] = set()
        for node in half.graph.node:
            path = path_of(node)
            outside = path.startswith(("backbone", "neck", "transformer/fusion"))
            if (node.op_type in CHOICES and not outside) or path.startswith(("people/MatMul", "points/MatMul")):
                seen.add(node.op_type if node.op_type in CHOICES else path)
                half_floats = [name for name in (*node.input, *node.output) if types.get(name) == HALF]
                assert not half_floats, (engine.name, path, half_floats)
        assert seen >= CHOICES | {"people/MatMul"}
        assert ("points/MatMul" in seen) == (engine.name == "positional")
        # The layers between them are what half precision is for.
        mixed = [node for node in half.graph.node if path_of(node).startswith(("people/mix", "transformer/selection/"))]
        assert any(types[node.output[0]] == HALF for node in mixed)


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_stays_out_of_scores_boxes_and_tokens(family: str, exported: Exported) -> None:
    everything = Plan(default="int8")
    for _, model in exported[family]:
        nodes = {node.name: path_of(node) for node in model.graph.node}
        reached = {nodes[name].split("/")[0] for name in quantizable(model, PLANS["int8"])}
        assert reached <= {"backbone", "neck", "transformer"}
        reached = {"/".join(nodes[name].split("/")[:2]) for name in quantizable(model, everything)}
        assert {path for path in reached if path.startswith(("people", "proposals", "points"))} == {
            "people/read",
            "proposals/stem",
        }
        assert "transformer/selection" not in reached


def test_int8_leaves_the_short_way_to_the_map_of_people_in_float(exported: Exported) -> None:
    for _, model in exported["fully_conv_optim"]:
        quantised = quantizable(model, PLANS["int8"])
        paths = [path_of(node) for node in model.graph.node if node.name in quantised]
        way_down = [path for path in paths if path.startswith("neck/down_path")]
        assert not [path for path in way_down if "/skip/" in path]
        assert [path for path in way_down if "/body/" in path], "all else of it is quantised"
