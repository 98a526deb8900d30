"""UniPHD's engines: deformable attention written in three ways, and networks that `humar-edge train` wrote."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import CheckpointError, ConfigError  # noqa: E402
from humar_edge.export.deform_attn import OP_TYPE  # noqa: E402
from humar_edge.export.engines import engines  # noqa: E402
from humar_edge.export.fp16 import to_fp16  # noqa: E402
from humar_edge.export.parity import arrays, check_export, compare, onnx_run, require  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402

PARTS = {"text_encoder_type": "tite", "backbone": "mobilevit_xxs"}
SMALL = replace(
    resolve("original-light", **PARTS), overrides={"encoder_layers": 1, "decoder_layers": 2, "hidden": 64, "queries": 4}
)


@pytest.fixture(scope="module")
def source():
    return open_source("original-light", SMALL, None, untrained=True, input_size=(64, 96))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint folder as training writes it: the network in its wrapper, averaged weights that differ."""
    pytest.importorskip("accelerate")
    from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary
    from humar_edge.training import checkpoint
    from humar_edge.training.build import build_original, describe

    torch.manual_seed(0)
    encoder = TiteEncoder(build_tite_vocabulary(["the man in red", "a woman with a bag"]))
    network = build_original(SMALL, encoder)
    average = {
        name: value * 1.01 if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    state = describe("original-light", SMALL, 64, 32) | {"text_encoder": encoder.description(), "step": 7}
    path = tmp_path_factory.mktemp("run") / "last"
    checkpoint.save(path, network, average, None, state)
    return path


def test_a_trained_folder_is_the_averaged_network(trained):
    from humar_edge.training.checkpoint import read_weights

    source = open_source("original-light", resolve("original-light", **PARTS), trained)
    assert (source.trained, source.original, source.input_size, source.width) == (True, True, (64, 64), 256)
    assert source.combo.overrides == SMALL.overrides and source.state["step"] == 7
    average = read_weights(trained)
    found = source.network.state_dict()
    assert {f"network.{name}" for name in found} == set(average)
    assert all(torch.equal(value, average[f"network.{name}"]) for name, value in found.items())


def test_folders_of_other_networks_and_missing_files_are_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="backbone mobilevit_xxs, not segformer_b0"):
        open_source("original-light", resolve("original-light", text_encoder_type="tite"), trained)
    with pytest.raises(ConfigError, match="transformer_type original, not fully_conv_optim"):
        open_source("ultra-light", resolve("ultra-light", **PARTS), trained)
    with pytest.raises(CheckpointError, match=r"uniphd\.pth: no such file"):
        open_source("original-light", SMALL, tmp_path / "uniphd.pth")
    with pytest.raises(CheckpointError, match="is not a checkpoint folder"):
        open_source("original-light", SMALL, tmp_path / "last")


@pytest.mark.slow
def test_a_trained_folder_becomes_a_bundle(trained, tmp_path):
    parts = ["--combo", "original-light", "--text-encoder-type", "tite", "--backbone", "mobilevit_xxs"]
    options = ["--checkpoint", str(trained), "--prompts", "text,point", "--output", str(tmp_path / "b")]
    result = CliRunner().invoke(command, [*parts, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.warning is None and bundle.positional_engine
    assert bundle.manifest.trained and bundle.manifest.provenance["step"] == 7
    assert bundle.manifest.parity["vision"]["fp32"]["reference"] == "PyTorch"


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
