"""EfficientFormer's attention biases on grids they were not made for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")

from humar_edge.models.backbones import build_backbone  # noqa: E402
from humar_edge.models.backbones.any_size import resampled_biases, resampling_matrix  # noqa: E402
from humar_edge.models.backbones.timm_backbone import import_timm  # noqa: E402


def test_resampling_keeps_the_ends_and_is_linear() -> None:
    assert torch.equal(resampling_matrix(7, 7), torch.eye(7))
    line = torch.arange(7.0)
    torch.testing.assert_close(resampling_matrix(7, 13) @ line, torch.arange(13) / 2)
    torch.testing.assert_close(resampling_matrix(7, 3) @ line, torch.tensor([0.0, 3.0, 6.0]))
    torch.testing.assert_close(resampling_matrix(7, 1) @ line, torch.tensor([0.0]))


def test_biases_depend_on_the_distance_only() -> None:
    table = torch.randn(2, 49)
    biases = resampled_biases(table, (7, 7), (3, 5))
    assert biases.shape == (2, 15, 15)
    diagonal = biases.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, table[:, :1].expand(2, 15))
    torch.testing.assert_close(biases, biases.transpose(1, 2))
    torch.testing.assert_close(biases[:, 0, 14], table[:, 48])  # opposite corners: the longest distance
    assert resampled_biases(table, (7, 7), (4, 6), step=2).shape == (2, 2 * 3, 24)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_at_224_it_is_timms_network(name: str) -> None:
    torch.manual_seed(0)
    model = build_backbone(name).eval()
    for key, parameter in model.named_parameters():  # start at 0 and 1e-5: what they do would not show
        if "attention_biases" in key or float(parameter.detach().abs().max()) <= 1e-5:
            torch.nn.init.normal_(parameter, std=0.3)
    reference = import_timm().create_model(name, features_only=True).eval()
    reference.load_state_dict({key.removeprefix("body."): value for key, value in model.state_dict().items()})
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        for found, wanted in zip(model(images), reference(images), strict=True):
            torch.testing.assert_close(found, wanted, atol=2e-5 * float(wanted.abs().max()), rtol=1e-4)
    for module in model.modules():
        if hasattr(module, "attention_biases"):
            module.attention_biases.data += torch.randn_like(module.attention_biases)
    with torch.no_grad():  # the biases do matter to what was just compared
        changed = (model(images)[3] - reference(images)[3]).abs().max()
    assert float(changed) > 5e-4 * float(wanted.abs().max())
