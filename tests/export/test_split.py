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

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import ExportError  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.split import check_split, split_engines  # noqa: E402
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


def nodes(bundle, engine):
    return {node.name for node in onnx.load(bundle.path / f"{engine}.onnx").graph.node}


def test_contract_of_the_parts(bundle):
    features, prompt = (onnx.load(path).graph for path in bundle.split_engines)

    def shapes(values):
        return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    width = bundle.manifest.width
    levels = shapes(features.output)
    assert shapes(features.input) == {"image": [1, 64, 96, 3]}
    assert {name: shape[2:] for name, shape in levels.items()} == {
        "p2": [16, 24],
        "p3": [8, 12],
        "p4": [4, 6],
        "p5": [2, 3],
    }
    assert shapes(prompt.input) == {
        **levels,
        "text_tokens": [1, 32, width],
        "text_mask": [1, 32],
        "sentence": [1, width],
    }
    assert shapes(prompt.output) == {"score": [1], "box": [1, 4], "keypoints": [1, 17, 3], "mask": [1, 16, 24]}


def test_the_parts_are_the_whole(bundle):
    # The same names are what lets a precision plan of the vision engine apply to both parts.
    assert nodes(bundle, "features") | nodes(bundle, "prompt") <= nodes(bundle, "vision")
    assert not nodes(bundle, "features") & nodes(bundle, "prompt")
    parity = bundle.manifest.parity["prompt"]["joined"]
    assert parity["reference"] == "vision" and parity["inputs"] == 4
    assert all(output["maximum"] <= output["tolerance"] for output in parity["outputs"].values())


def test_predictor_shares_the_features(bundle):
    frame = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    texts = ["the man in red", "a woman with a bag"]
    with Predictor(bundle, "onnxruntime", threads=1) as predictor:
        for person, text in zip(predictor.predict_many(frame, texts), texts, strict=True):
            alone = predictor.predict(frame, text)
            assert person.score == pytest.approx(alone.score, abs=1e-5)
            np.testing.assert_allclose(person.keypoints, alone.keypoints, atol=1e-2)


def test_parts_of_another_network_are_noticed(bundle):
    from humar_edge.export.engines import vision_engine
    from humar_edge.export.parity import arrays

    source = open_source(
        "edge-lite", resolve("edge-lite", text_encoder_type="tite"), None, untrained=True, input_size=(64, 96)
    )
    whole, features, prompt = (onnx.load(bundle.path / f"{name}.onnx") for name in ("vision", "features", "prompt"))
    samples = arrays(vision_engine(source))
    assert all(difference.passed for difference in check_split(whole, features, prompt, samples))
    weight = max((item for item in prompt.graph.initializer if len(item.dims) == 4), key=lambda item: item.ByteSize())
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 3, weight.name))
    with pytest.raises(ExportError, match="do not agree with the vision engine"):
        check_split(whole, features, prompt, samples)


def test_the_original_transformer_cannot_be_split():
    class Original:
        original = True

    with pytest.raises(ExportError, match="mixes words into its encoder"):
        split_engines(Original())  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_goes_into_both_parts(tmp_path, precision):
    result = run(*COMMON, "--precision", precision, "--calibration-images", 8, "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    manifest = Bundle.load(tmp_path / "b").manifest
    assert {manifest.precision[name] for name in ("vision", "features", "prompt")} == {precision}
    joined = manifest.parity["prompt"]["joined"]["outputs"]
    assert joined["score"]["tolerance"] is None and joined["box"]["maximum"] < 0.5
