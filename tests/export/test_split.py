"""The vision engine in two parts gives the results of the whole."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from onnx import helper  # noqa: E402

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import ExportError  # noqa: E402
from humar_edge.export.engines import vision_engine  # noqa: E402
from humar_edge.export.int8 import quantizable  # noqa: E402
from humar_edge.export.parity import arrays  # noqa: E402
from humar_edge.export.plan import Plan  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.split import check_split, split_engines  # noqa: E402
from humar_edge.models.heads.people import GRID  # noqa: E402
from humar_edge.models.heads.proposals import PEAKS  # noqa: E402
from humar_edge.models.heads.selection import HEADS, LAYERS  # noqa: E402
from humar_edge.models.transformers.light import PERSON  # noqa: E402
from humar_edge.runtime.predictor import Predictor  # noqa: E402

COMMON = ("--combo", "edge-lite", "--text-encoder-type", "tite", "--untrained", "--imgsz", "64,96", "--split")


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "b"
    result = run(*COMMON, "--output", path)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "features and prompt against vision" in result.output
    return Bundle.load(path)


def ports(values):
    return {
        value.name: (
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            [side.dim_value for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


def test_contract_of_the_parts(bundle):
    features, prompt = (onnx.load(path).graph for path in bundle.split_engines)
    width, picture = bundle.manifest.width, ports(features.output)
    assert ports(features.input) == {"image": ("uint8", [1, 64, 96, 3])}
    assert {name: shape[2:] for name, (_, shape) in list(picture.items())[:4]} == {
        "p2": [16, 24],
        "p3": [8, 12],
        "p4": [4, 6],
        "p5": [2, 3],
    }
    assert {name: kind for name, (kind, _) in picture.items() if kind != "float32"} == {"cells": "int64"}
    assert {name: shape for name, (_, shape) in list(picture.items())[4:]} == {
        "cells": [1, PEAKS],
        "boxes": [1, PEAKS, 4],
        "person": [1, PEAKS, PERSON],
        "keys": [1, PEAKS, GRID[0] * GRID[1], PERSON],
        "values": [1, PEAKS, GRID[0] * GRID[1], PERSON],
        "relations": [1, LAYERS * HEADS, PEAKS, PEAKS],
    }
    assert ports(prompt.input) == {
        **picture,
        "text_tokens": ("float32", [1, 32, width]),
        "text_mask": ("int64", [1, 32]),
        "sentence": ("float32", [1, width]),
    }
    assert ports(prompt.output) == ports(onnx.load(bundle.vision_engine).graph.output)


def test_the_parts_are_the_whole(bundle):
    # The same names of modules and layers are what lets a precision plan of the vision engine apply to both parts.
    graphs = [onnx.load(bundle.path / f"{name}.onnx") for name in ("features", "prompt", "vision")]
    *parts, whole = ({node.name.rpartition("/")[0] for node in model.graph.node} for model in graphs)
    assert parts[0] | parts[1] == whole
    *parts, whole = (quantizable(model, Plan(default="int8")) for model in graphs)
    assert parts[0] | parts[1] == whole and not set(parts[0]) & set(parts[1])
    parity = bundle.manifest.parity["prompt"]["joined"]
    assert parity["reference"] == "vision" and parity["inputs"] == 4
    assert all(output["maximum"] <= output["tolerance"] for output in parity["outputs"].values())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_predictor_shares_the_features(bundle, backend):
    pytest.importorskip(backend)
    frame = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    texts = ["the man in red", "a woman with a bag"]
    with Predictor(bundle, backend, threads=1) as predictor:
        for person, text in zip(predictor.predict_many(frame, texts), texts, strict=True):
            alone = predictor.predict(frame, text)
            assert person.score == pytest.approx(alone.score, abs=1e-5)
            np.testing.assert_allclose(person.keypoints, alone.keypoints, atol=1e-2)


@pytest.mark.parametrize("part", ["features", "prompt"])
def test_parts_of_another_network_are_noticed(bundle, part):
    source = open_source(
        "edge-lite", resolve("edge-lite", text_encoder_type="tite"), None, untrained=True, input_size=(64, 96)
    )
    graphs = {name: onnx.load(bundle.path / f"{name}.onnx") for name in ("vision", "features", "prompt")}
    samples = arrays(vision_engine(source))
    assert all(difference.passed for difference in check_split(*graphs.values(), samples))
    # In the features engine, what only people are read with: the maps stay right.
    people = [node for node in graphs[part].graph.node if part == "prompt" or "/people/" in node.name]
    read = {name for node in people for name in node.input}
    weights = [item for item in graphs[part].graph.initializer if item.name in read and len(item.dims) >= 2]
    weight = max(weights, key=lambda item: item.ByteSize())
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 3, weight.name))
    with pytest.raises(ExportError, match="do not agree with the vision engine"):
        check_split(*graphs.values(), samples)


def test_the_original_transformer_cannot_be_split():
    class Original:
        original = True

    with pytest.raises(ExportError, match="mixes words into its encoder"):
        split_engines(Original())  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_plan_may_leave_one_of_the_parts_alone(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text('{"blocks": {"backbone": "int8"}, "name": "early"}')
    result = run(*COMMON, "--precision", plan, "--calibration-images", 8, "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    parity = Bundle.load(tmp_path / "b").manifest.parity
    assert "calibration" in parity["features"]["early"] and "calibration" not in parity["prompt"]["early"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_goes_into_both_parts(tmp_path, precision):
    result = run(*COMMON, "--precision", precision, "--calibration-images", 8, "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    manifest = Bundle.load(tmp_path / "b").manifest
    assert {manifest.precision[name] for name in ("vision", "features", "prompt")} == {precision}
    joined = manifest.parity["prompt"]["joined"]["outputs"]
    assert joined["score"]["tolerance"] is None and joined["box"]["maximum"] < 0.5
