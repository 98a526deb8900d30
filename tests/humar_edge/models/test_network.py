"""The whole light network: pictures in 8 bits, captions as token ids."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers"):
    pytest.importorskip(needed)

from light_factory import FAMILIES, network, pictures  # noqa: E402
from torch import nn  # noqa: E402

from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.models.network import MEAN, STD, HumarNet  # noqa: E402
from humar_edge.models.tokenizer import encode_captions  # noqa: E402
from humar_edge.models.transformers import build_transformer  # noqa: E402


def test_pictures_are_normalised_as_the_backbones_were_trained() -> None:
    class Record(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            return x

    backbone, transformer = Record(), nn.Module()
    transformer.pyramid = lambda image, features: features
    image = pictures(1, 8, 8)
    HumarNet(backbone, None, transformer).pyramid(image)  # type: ignore[arg-type]
    expected = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(backbone.seen, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_of_any_length_run_through_the_text_encoder(family: str) -> None:
    net = network(family, text=True).eval()
    ids, mask = encode_captions(net.text_encoder.tokenizer, ["a man", "the woman in red on the left of the door"])
    with torch.no_grad():
        prompt = net.encode_text(ids, mask)
        assert prompt.tokens.shape == (2, 32, net.transformer.width) and prompt.heat is None
        found = net(pictures(2, 64, 96), *prompt[:3])
        longest = int(mask.sum(1).max())
        cut = net.encode_text(ids[:, :longest], mask[:, :longest])
        short = net(pictures(2, 64, 96), *cut[:3])
    for left, right in zip(found, short, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_without_a_text_encoder_captions_are_refused() -> None:
    with pytest.raises(RuntimeError, match="without a text encoder"):
        network("fully_conv_optim").encode_text(torch.ones(1, 2).long(), torch.ones(1, 2).long())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_detection_of_a_rectangular_picture_is_that_of_the_transposed_size_too(family: str) -> None:
    """Every multiple of 32 works, upright and wide, with one network."""
    net = network(family).eval()
    prompt = (torch.zeros(1, 3, net.transformer.width), torch.ones(1, 3).long(), torch.zeros(1, net.transformer.width))
    for height, width in ((32, 32), (96, 64), (64, 160)):
        with torch.no_grad():
            found = net(pictures(1, height, width), *prompt)
        assert found.mask.shape == (1, height // 4, width // 4) and torch.isfinite(found.keypoints).all()


@pytest.mark.parametrize("name", ["efficent", "fullyconv"])
def test_unknown_families_are_named_with_near_matches(name: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        build_transformer(name, (32, 64, 160, 256), 384)


def test_families_take_the_backbones_of_their_combinations() -> None:
    assert resolve("efficient-balanced").transformer_type == "efficient"
    with torch.device("meta"):
        for channels in ((64, 128, 320, 512), (24, 40, 112, 320), (96, 192, 384, 768)):
            for family in FAMILIES:
                build_transformer(family, channels, 768)
