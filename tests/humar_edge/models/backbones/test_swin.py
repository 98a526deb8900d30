from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from humar_edge.models.backbones.swin import (  # noqa: E402
    SwinTransformer,
    adopt_swin,
    relative_position_index,
    shifted_window_mask,
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SwinTransformer(16, (1, 2, 1, 1), (1, 2, 4, 8)).eval()


@pytest.mark.parametrize("size", [(64, 96), (61, 75), (28, 30), (224, 224)])
def test_sizes_are_halved_and_rounded_up(network, size):
    with torch.no_grad():
        maps = network(torch.randn(2, 3, *size))
    expected = [tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32)]
    assert [tuple(level.shape[2:]) for level in maps] == expected
    assert tuple(level.shape[1] for level in maps) == network.channels


def test_position_index_is_the_offset_between_two_cells():
    index = relative_position_index(7)
    first, second = 3 * 7 + 5, 1 * 7 + 6
    assert index[first, second] == (3 - 1 + 6) * 13 + (5 - 6 + 6)
    assert index.unique().numel() == 169


def test_mask_separates_cells_that_the_roll_brought_together():
    mask = shifted_window_mask(14, 7, 7, 3)
    assert mask.shape == (2, 49, 49)
    # The upper window is cut only at the column where the roll wraps, the lower one also at its row.
    assert mask[0, 0, 3] == 0 and mask[0, 0, 4] == -100 and mask[0, 0, 6 * 7] == 0
    assert mask[1, 0, 3 * 7] == 0 and mask[1, 0, 4 * 7] == -100


def test_classification_checkpoints_of_both_namings_are_adopted(network):
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("norm")}
    authors = {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in own.items()}
    extra = {
        "head.weight": torch.zeros(1),
        "norm.bias": torch.zeros(1),
        "layers.0.blocks.1.attn_mask": torch.zeros(1),
    }
    timm = {}
    for name, tensor in authors.items():
        stage = next((s for s in range(3) if name.startswith(f"layers.{s}.downsample")), None)
        if stage is not None:
            name = name.replace(f"layers.{stage}.", f"layers.{stage + 1}.")
        if not name.endswith("relative_position_index"):
            timm[name] = tensor
    for published in (authors | extra, timm | {"head.fc.weight": torch.zeros(1)}):
        adopted = adopt_swin(network, published)
        assert adopted.keys() == network.state_dict().keys()
        for name, tensor in authors.items():
            assert torch.equal(adopted[name], tensor)


def test_stochastic_depth_acts_only_in_training(network):
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(picture)[3], network(picture)[3])
        rates = [block.drop_path.probability for stage in network.layers for block in stage.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
