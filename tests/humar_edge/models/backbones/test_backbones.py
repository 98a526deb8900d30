"""Every backbone: strides, channels, gradients, any size, export."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")

from humar_edge.combos import BACKBONES  # noqa: E402
from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.models.backbones import build_backbone  # noqa: E402
from humar_edge.models.backbones.table import RECIPES  # noqa: E402

ONE_PER_FAMILY = ("segformer_b0", "mobilevit_xxs", "efficientformerv2_s0", "efficientnet_lite0")
HEAVY = ("efficientformer_l3", "efficientformer_l7", "poolformer_s24", "poolformer_s36", "efficientformerv2_s2")
SIZED = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in BACKBONES]
EXPORTED = [name if name in ONE_PER_FAMILY else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]


def test_every_backbone_of_the_table_has_a_recipe() -> None:
    assert list(RECIPES) == list(BACKBONES)


@pytest.mark.parametrize("name", SIZED)
def test_strides_channels_and_gradients_at_a_rectangular_size(name: str) -> None:
    model = build_backbone(name)
    images = torch.randn(2, 3, 96, 160)
    maps = model(images)
    expected = BACKBONES[name].channels
    assert tuple(model.channels) == expected
    shapes = [(2, channels, 96 // s, 160 // s) for channels, s in zip(expected, (4, 8, 16, 32), strict=True)]
    assert [tuple(level.shape) for level in maps] == shapes
    sum(level.square().mean() for level in maps).backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    reached = [p for p in parameters if p.grad is not None and bool(torch.isfinite(p.grad).all())]
    assert len(reached) == len(parameters)


@pytest.mark.parametrize("name", ["segformer_b0", "efficientformer_l1", "efficientformerv2_s0", "mobilevit_xxs"])
def test_one_network_takes_several_sizes(name: str) -> None:
    model = build_backbone(name).eval()
    with torch.no_grad():
        for height, width in ((64, 64), (32, 128), (224, 224), (64, 64)):
            assert model(torch.zeros(1, 3, height, width))[3].shape[2:] == (height // 32, width // 32)


def test_copies_are_independent_and_equal() -> None:
    model = build_backbone("efficientformer_l1").eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
        images = torch.randn(1, 3, 96, 160)
        for ours, theirs in zip(model(images), twin(images), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_unknown_name_gives_near_matches() -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'segformer_b00'; did you mean segformer_b0"):
        build_backbone("segformer_b00")


@pytest.mark.parametrize("name", ["segformer_b0", "efficientnet_lite0"])
def test_other_sizes_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="100x160 is not divisible by 32; use for example 96x160"):
        build_backbone(name)(torch.zeros(1, 3, 100, 160))


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_equals_torch(name: str, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = build_backbone(name)
    for key, parameter in model.named_parameters():  # start at 0 and 1e-5: what they do would not show
        if "attention_biases" in key or float(parameter.detach().abs().max()) <= 1e-5:
            torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    images = torch.randn(1, 3, 96, 160)
    path = tmp_path / "backbone.onnx"
    torch.onnx.export(
        model, (images,), str(path), opset_version=17, dynamo=False, input_names=["image"], output_names=list("abcd")
    )
    found = onnxruntime.InferenceSession(str(path)).run(None, {"image": images.numpy()})
    with torch.no_grad():
        wanted = model(images)
    for level, reference in zip(found, wanted, strict=True):
        scale = float(reference.abs().max())
        assert np.abs(level - reference.numpy()).max() <= 1e-4 * max(scale, 1.0)
