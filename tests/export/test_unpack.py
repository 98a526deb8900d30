"""Bundles back to checkpoints: what is written computes what the bundle computes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from light_factory import wake  # noqa: E402

from humar_edge.bundle import Bundle, default_bundle_path  # noqa: E402
from humar_edge.cli.export import command as export  # noqa: E402
from humar_edge.cli.unpack import command as unpack  # noqa: E402
from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import BundleError, ConfigError, ExportError  # noqa: E402
from humar_edge.export.engines import text_engine, vision_engine  # noqa: E402
from humar_edge.export.parity import arrays, compare, onnx_run, torch_run  # noqa: E402
from humar_edge.export.reduce import caption_encoder  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.models.text import build_text_encoder  # noqa: E402
from humar_edge.runtime.preprocess import prepare  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.build import build_network, describe, load_network  # noqa: E402

PARTS = ("--combo", "edge-lite", "--prompts", "text,point", "--imgsz", "64")


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def write_checkpoint(folder: Path, encoder: torch.nn.Module) -> Path:
    """An edge-lite with random weights, norms with statistics of their own, and a calibrated score."""
    combo = resolve("edge-lite")
    torch.manual_seed(3)
    network = build_network(combo, None, encoder.dim).eval()
    wake(network)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running_" in name:
                value.uniform_(0.5, 1.5)
        network.transformer.score_scale.fill_(1.3)
        network.transformer.score_shift.fill_(-0.4)
    state = describe("edge-lite", combo, 64, 32) | {"thresholds": {"score": 0.37}}
    checkpoint.save(folder, network, network.state_dict(), None, state)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("unpack")
    written = write_checkpoint(root / "run" / "last", build_text_encoder("minilm"))
    done = run(export, *PARTS, "--checkpoint", written, "--output", root / "bundle")
    assert done.exit_code == 0, (done.output, done.exception)
    return root / "bundle"


@pytest.mark.slow
def test_what_is_unpacked_computes_the_same(bundle, tmp_path):
    done = run(unpack, bundle, "--output", tmp_path / "last")
    assert done.exit_code == 0, (done.output, done.exception)
    first, state = load_network(bundle.parent / "run" / "last")
    second, again = load_network(tmp_path / "last")
    assert again["thresholds"] == state["thresholds"] and again["components"] == state["components"]
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prompt = torch.randn(1, 5, 384), torch.ones(1, 5, dtype=torch.int64), torch.randn(1, 384)
    points = torch.rand(1, 12, 2)
    with torch.no_grad():
        for network in (first, second):
            text = network.transformer.text_prompt(*prompt)
            network.found = [
                *network(image, text.tokens, text.mask, text.sentence),
                *network.forward_points(image, points),
            ]
    for mine, theirs in zip(first.found, second.found, strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-3, rtol=1e-3)
    refused = run(unpack, bundle, "--output", tmp_path / "last")
    assert isinstance(refused.exception, ConfigError) and "exists" in str(refused.exception)


@pytest.mark.slow
def test_the_embedded_bundle_in_int8(tmp_path):
    done = run(unpack, "--output", tmp_path / "last")
    assert done.exit_code == 0, (done.output, done.exception)
    source = open_source("edge-lite", resolve("edge-lite"), tmp_path / "last")
    assert source.input_size == tuple(Bundle.load(default_bundle_path()).manifest.input_size)
    engine = vision_engine(source)
    encode = caption_encoder(source, torch_run(text_engine(source)))
    good, frame = cv2.VideoCapture(str(default_bundle_path().parent / "demo.mp4")).read()
    assert good
    image = prepare(frame, source.input_size).image
    inputs = [{"image": image, **encode(text)} for text in ("man in red", "woman in blue", "the person on the right")]
    shipped, unpacked = onnx_run(onnx.load(str(default_bundle_path() / engine.file))), torch_run(engine)
    found = {item.output: item for item in compare(shipped, unpacked, inputs, {})}
    assert found["score"].maximum < 0.1 and found["mask"].mean < 0.5
    assert found["box"].maximum < 0.05 and found["keypoints"].mean < 0.02
    # In noise there is nobody to box: rounding decides which candidate is the best.
    noise = {item.output: item for item in compare(shipped, unpacked, arrays(engine), {})}
    assert noise["score"].maximum < 0.1 and np.isfinite(noise["mask"].maximum)


def test_refusals(tiny_bundle, tmp_path):
    for path, error in ((tmp_path / "none", BundleError), (tiny_bundle, ExportError)):
        done = run(unpack, path, "--output", tmp_path / "last")
        assert isinstance(done.exception, error), done.exception
    assert not (tmp_path / "last").exists()
