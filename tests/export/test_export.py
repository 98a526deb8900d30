"""Whole exports of a light network with random weights, at a small size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from refhuman_factory import annotation, image, write_split  # noqa: E402

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.combos import resolve  # noqa: E402
from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import BundleError, CheckpointError, ConfigError, ExportError  # noqa: E402
from humar_edge.export.engines import vision_engine  # noqa: E402
from humar_edge.export.int8 import require_blocks  # noqa: E402
from humar_edge.export.parity import Difference, check_export, compare, require  # noqa: E402
from humar_edge.export.plan import Plan  # noqa: E402
from humar_edge.export.reduce import comparable  # noqa: E402
from humar_edge.export.session import image_size  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402

COMBO = ("--combo", "edge-lite", "--text-encoder-type", "tite")


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def source():
    return open_source(
        "edge-lite", resolve("edge-lite", text_encoder_type="tite"), None, untrained=True, input_size=(64, 96)
    )


@pytest.fixture(scope="module")
def exported(source):
    engine = vision_engine(source)
    return engine, to_onnx(engine)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    entries, annotations = [], []
    for number in range(1, 13):
        entries.append(image(number, f"person {number} in red", f"{number}.png", 64 + number, 60))
        annotations.append(annotation(number, (5, 5, 30 + number, 55)))
    for split in ("train", "val"):
        write_split(root, entries, annotations, split=split)
    return root


def test_graph_is_folded_named_and_follows_the_contract(exported, source):
    _, model = exported
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"BatchNormalization", "Identity", "GridSample", "If", "Loop", "Constant"}
    assert all(node.name.startswith("/") for node in model.graph.node)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)
    }
    width = source.width
    assert shapes == {
        "image": [1, 64, 96, 3],
        "text_tokens": [1, 32, width],
        "text_mask": [1, 32],
        "sentence": [1, width],
        "score": [1],
        "box": [1, 4],
        "keypoints": [1, 17, 3],
        "mask": [1, 16, 24],
    }
    reader = next(node for node in model.graph.node if "image" in node.input)
    assert reader.op_type == "Cast"


def swap_colours(model):
    rewrite(model, model.graph.node[stem(model)].input[1], lambda weight: weight[:, ::-1])


def shift(model):
    pads = next(item for item in model.graph.node[stem(model)].attribute if item.name == "pads")
    pads.ints[:] = [0, 0, 1, 1]


def round_weights(model):
    for item in list(model.graph.initializer):
        if item.data_type == onnx.TensorProto.FLOAT:
            rewrite(model, item.name, lambda weight: weight.astype(np.float16).astype(np.float32))


def triple_weight(model):
    weights = [item for item in model.graph.initializer if len(item.dims) == 4 and "Conv" in item.name]
    rewrite(model, max(weights, key=lambda item: item.ByteSize()).name, lambda weight: weight * 3)


def stem(model):
    return next(index for index, node in enumerate(model.graph.node) if node.op_type == "Conv")


def rewrite(model, name, change):
    tensor = next(item for item in model.graph.initializer if item.name == name)
    values = np.ascontiguousarray(change(onnx.numpy_helper.to_array(tensor)))
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))


@pytest.mark.parametrize("damage", [swap_colours, shift, round_weights, triple_weight])
def test_a_wrong_graph_is_noticed(exported, damage):
    engine, model = exported
    assert all(difference.passed for difference in check_export(engine, model))
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    damage(broken)
    with pytest.raises(ExportError, match="does not agree"):
        check_export(engine, broken)


def test_tolerance_grows_with_the_values():
    assert Difference("mask", 8e-3, 1e-4, 120.0, 2e-3).passed
    assert not Difference("mask", 8e-3, 1e-4, 1.0, 2e-3).passed
    assert "tolerance 1.4e-02" in str(Difference("mask", 8e-3, 1e-4, 120.0, 2e-3))
    assert Difference("mask", 8e-3, 1e-4, 120.0, 2e-3).to_dict()["tolerance"] == 0.014


def test_not_a_number_never_passes():
    found = compare(lambda x: {"a": np.zeros(2)}, lambda x: {"a": np.array([0, np.nan])}, [{}], {})
    assert not found[0].passed
    with pytest.raises(ExportError):
        require(found, "x")
    assert Difference("a", 1.0, 0.1, 1.0, None).passed


def test_bundle_of_an_untrained_network_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*COMBO, "--untrained", "--imgsz", "64,96", "--prompts", "text,point")
    assert result.exit_code == 0, result.output
    bundle = Bundle.load(tmp_path / "bundles" / "edge-lite")
    assert bundle.warning and bundle.positional_engine
    manifest = bundle.manifest
    assert (manifest.input_size, manifest.precision["vision"], manifest.trained) == ((64, 96), "fp32", False)
    assert manifest.components["text_encoder_type"] == "tite"
    assert manifest.parity["vision"]["fp32"]["outputs"]["mask"]["tolerance"]
    assert "max difference" in result.output and "tolerance" in result.output
    again = run(*COMBO, "--untrained", "--imgsz", "64", "--output", bundle.path)
    assert isinstance(again.exception, ExportError) and "--force" in str(again.exception)


@pytest.mark.slow
def test_int8_with_calibration_and_validation(tmp_path, data):
    pytest.importorskip("openvino")
    common = (*COMBO, "--untrained", "--imgsz", "64", "--precision", "int8", "--text-precision", "int8")
    folders = (
        "--calibration",
        data,
        "--calibration-images",
        10,
        "--val-data",
        data,
        "--calibration-cache",
        tmp_path / "c",
    )
    result = run(*common, *folders, "--max-drop", 1, "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    manifest = Bundle.load(tmp_path / "b").manifest
    assert manifest.precision == {"text": "int8", "vision": "int8"}
    assert manifest.parity["vision"]["int8"]["calibration"] == {"images": 10, "method": "percentile"}
    figures = manifest.metrics["export"]
    assert {"OKS-AP", "Acc@0.5", "mean OKS", "mIoU"} <= set(figures["fp32"]) and figures["prompts"] == 12
    assert set(figures["drops"]) == set(figures["bundle"]) == set(figures["fp32"])
    assert figures["outputs"]["mask"]["tolerance"] > 0 and figures["compared"] == 12
    cached = json.loads((tmp_path / "c" / "calibration-vision.json").read_text())
    assert cached["images"] == 10 and len(cached["chosen"]) == 10
    worse = run(*common, *folders, "--max-drop", -2, "--output", tmp_path / "worse")
    assert isinstance(worse.exception, ExportError) and "costs too much" in str(worse.exception)
    assert "from " + str(tmp_path / "c") in worse.output
    assert not (tmp_path / "worse").exists()


def test_refusals(tmp_path):
    nothing = run("--untrained")
    assert isinstance(nothing.exception, ConfigError) and "--combo" in str(nothing.exception)
    assert isinstance(run(*COMBO, "--output", tmp_path / "b").exception, ExportError)
    both = run(*COMBO, "--untrained", "--checkpoint", tmp_path, "--output", tmp_path / "b")
    assert isinstance(both.exception, ConfigError)
    missing = run(*COMBO, "--checkpoint", tmp_path / "none", "--output", tmp_path / "b")
    assert isinstance(missing.exception, CheckpointError)
    for option in (
        ("--imgsz", "100"),
        ("--imgsz", "a"),
        ("--prompts", "voice"),
        ("--precision", "int4"),
        ("--opset", 21),
    ):
        result = run(*COMBO, "--untrained", "--output", tmp_path / "b", *option)
        assert isinstance(result.exception, ConfigError), option
    assert not list(tmp_path.iterdir())


def test_folders_in_use_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter").write_text("")
    monkeypatch.chdir(tmp_path)
    for folder in ("used", "."):
        bundle = run(*COMBO, "--untrained", "--imgsz", "64", "--output", folder)
        assert isinstance(bundle.exception, BundleError) and "another output folder" in str(bundle.exception)
        repository = run(*COMBO, "--untrained", "--imgsz", "64", "--output", "b", "--triton", folder)
        assert isinstance(repository.exception, ExportError) and "model repository" in str(repository.exception)
        assert not bundle.output and not repository.output
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_bundle_is_taken_as_it_is(tiny_bundle, tmp_path):
    result = run("--model", tiny_bundle, "--triton", tmp_path / "t", "--precision", "int8", "--max-drop", "0.02")
    assert isinstance(result.exception, ConfigError) and "--precision, --max-drop: only with" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("drop", ["inf", "nan"])
def test_a_limit_is_a_number(tmp_path, drop):
    result = run(*COMBO, "--untrained", "--max-drop", drop, "--output", tmp_path / "b")
    assert result.exit_code == 2 and "is not a finite number" in result.output


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"bakbone": "int8"}, "no block bakbone; blocks begin with backbone"),
        ({"transformer/fusion/mix3/film": "int8"}, "nothing to quantise"),
    ],
)
def test_a_plan_for_another_network_is_refused(exported, blocks, message):
    with pytest.raises(ConfigError, match=message):
        require_blocks(exported[1], Plan(blocks))


def test_ranges_are_kept_for_all_weights():
    """Word features are inputs of the vision engine, though its file does not hold what makes them."""
    combo = resolve("edge-lite", text_encoder_type="tite")
    source = open_source("edge-lite", combo, None, untrained=True, input_size=(64, 96))
    before = source.fingerprint()
    assert source.fingerprint() == before
    source.network.transformer.text.get_parameter("words.0.weight").data[0, 0] += 1
    assert source.fingerprint() != before


def test_engines_are_compared_on_what_they_can_read(data, tmp_path):
    entries = RefHumanIndex.load(data, "val").entries
    gone = replace(entries[0], image_path=tmp_path / "gone.png")
    without = replace(entries[1], scribble=None)
    assert comparable([gone, without, *entries[2:5]], positional=False) == [without, *entries[2:5]]
    assert comparable([gone, without, *entries[2:5]], positional=True) == entries[2:5]


def test_image_size():
    assert [image_size(text) for text in (None, "384", "384,640", "384x640")] == [
        None,
        (384, 384),
        (384, 640),
        (384, 640),
    ]
