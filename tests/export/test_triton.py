"""The model repository for Triton, read back and compared with the ONNX files; no server runs here."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from click.testing import CliRunner  # noqa: E402

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.errors import ConfigError, ExportError  # noqa: E402
from humar_edge.export.batching import with_batch  # noqa: E402
from humar_edge.export.parity import onnx_run  # noqa: E402
from humar_edge.export.pbtxt import Word, from_pbtxt, to_pbtxt  # noqa: E402
from humar_edge.export.triton import ensemble_config, model_config, precision_mode, write_repository  # noqa: E402
from humar_edge.export.triton_check import check_repository  # noqa: E402


@pytest.fixture(scope="module")
def bundle(make_tiny_bundle, tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("triton") / "b", split=True)


@pytest.fixture
def repository(bundle, tmp_path):
    write_repository(tmp_path / "r", bundle)
    return tmp_path / "r"


def test_text_format_round_trip():
    text = to_pbtxt({"name": 'a "b"', "n": -1, "kind": Word("KIND_GPU"), "on": True, "list": [1, 2], "m": [{"a": 1}]})
    found = from_pbtxt(f"# a comment\n{text}")
    assert found == {
        "name": ['a "b"'],
        "n": [-1],
        "kind": ["KIND_GPU"],
        "on": [True],
        "list": [1, 2],
        "m": [{"a": [1]}],
    }
    assert from_pbtxt("m: [ { a: 1 }, { a: 2 } ]") == {"m": [{"a": [1]}, {"a": [2]}]}
    for broken in ("a {", "a", 'a: "'):
        with pytest.raises(ExportError):
            from_pbtxt(broken)


def test_layout_and_configuration(repository):
    files = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    engines = ("text", "vision", "positional", "features", "prompt")
    static = {f"humar_{name}/{file}" for name in engines for file in ("config.pbtxt", "1/model.onnx")}
    assert static | {"humar_edge/config.pbtxt"} <= files
    assert (repository / "humar_edge" / "1").is_dir()
    vision = from_pbtxt((repository / "humar_vision" / "config.pbtxt").read_text())
    assert vision["max_batch_size"] == [0] and vision["backend"] == ["onnxruntime"]
    assert vision["input"][0] == {"name": ["image"], "data_type": ["TYPE_UINT8"], "dims": [1, 96, 128, 3]}
    accelerator = vision["optimization"][0]["execution_accelerators"][0]["gpu_execution_accelerator"][0]
    options = {item["key"][0]: item["value"][0] for item in accelerator["parameters"]}
    assert accelerator["name"] == ["tensorrt"] and options["precision_mode"] == "FP32"


def test_triton_s_own_schema_reads_it(repository):
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    for file in repository.glob("*/config.pbtxt"):
        config = text_format.Parse(file.read_text(), schema.ModelConfig())
        assert config.name == file.parent.name and len(config.output) >= 1


def test_batches_only_where_the_graph_allows_them(repository, bundle):
    free = with_batch(onnx.load(bundle.text_engine))
    assert free is not None
    ids = np.array([[2, 4, 3, *[0] * 29], [2, 5, 3, *[0] * 29]], dtype=np.int64)
    mask = (ids > 0).astype(np.int64)
    both, alone = onnx_run(free), onnx_run(onnx.load(bundle.text_engine))
    found = both({"input_ids": ids, "attention_mask": mask})["sentence"]
    for row in range(2):
        single = alone({"input_ids": ids[row : row + 1], "attention_mask": mask[row : row + 1]})["sentence"]
        np.testing.assert_array_equal(found[row : row + 1], single)
    # Its points become one flat list of places: a batch would mix pictures.
    assert with_batch(onnx.load(bundle.positional_engine)) is None
    text = from_pbtxt((repository / "humar_text_batch" / "config.pbtxt").read_text())
    assert text["max_batch_size"] == [8] and "dynamic_batching" in text and text["input"][0]["dims"] == [32]
    assert not (repository / "humar_positional_batch").exists()


def test_every_damage_is_noticed(repository):
    file = repository / "humar_vision" / "config.pbtxt"
    good = file.read_text()
    for old, new, message in (
        ('"image"', '"picture"', "humar_edge"),
        ("TYPE_UINT8", "TYPE_FP32", "humar_edge"),
        ('name: "keypoints"', 'name: "joints"', "humar_edge|humar_vision"),
        ('name: "humar_vision"', 'name: "other"', "calls it other"),
        ("max_batch_size: 0", "max_batch_size: 4", "humar_edge|batch of 1"),
        ("max_batch_size: 0\n", "", "has no 'max_batch_size'"),
    ):
        file.write_text(good.replace(old, new, 1))
        with pytest.raises(ExportError, match=message):
            check_repository(repository)
    file.write_text(good)
    shutil.copyfile(repository / "humar_text" / "1" / "model.onnx", repository / "humar_vision" / "1" / "model.onnx")
    with pytest.raises(ExportError, match="model humar_vision: its input is"):
        check_repository(repository)
    shutil.rmtree(repository / "humar_edge" / "1")
    with pytest.raises(ExportError, match="no version folder"):
        check_repository(repository)


def test_precision_and_accelerator(bundle):
    model = onnx.load(bundle.vision_engine)
    assert "optimization" not in model_config("a", model, "none")
    assert precision_mode(model) == "FP32"
    half, scaled = onnx.ModelProto(), onnx.ModelProto()
    half.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float16), "w"))
    assert precision_mode(half) == "FP16"
    scaled.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["x", "s"], ["y"]))
    assert precision_mode(scaled) == "INT8"
    assert ensemble_config({"text": onnx.load(bundle.text_engine), "vision": model})["platform"] == "ensemble"


def test_command(bundle, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    result = run("--model", bundle.path, "--triton", tmp_path / "r")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "humar_edge, humar_features" in result.output and "no batches: " in result.output
    assert isinstance(run("--model", bundle.path, "--triton", tmp_path / "r").exception, ExportError)
    for wrong in (("--model", bundle.path), ("--triton", tmp_path / "x")):
        assert isinstance(run(*wrong).exception, ConfigError), wrong
    assert isinstance(run("--combo", "edge-lite").exception, ExportError)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_bundle_is_unchanged(bundle, repository):
    assert Bundle.load(bundle.path).manifest == bundle.manifest
