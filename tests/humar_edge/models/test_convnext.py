"""ConvNeXt blocks."""

import pytest

torch = pytest.importorskip("torch")

from humar_edge.models.convnext import ConvNeXtBlock, CSPNeXt  # noqa: E402


def test_a_block_sees_seven_by_seven_cells_and_no_more() -> None:
    torch.manual_seed(0)
    block = ConvNeXtBlock(4).eval()
    x = torch.randn(1, 4, 15, 15, requires_grad=True)
    block(x)[0, :, 7, 7].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert seen[4:11, 4:11].all() and int(seen.sum()) == 49


def test_a_stage_changes_the_width_and_keeps_the_size() -> None:
    stage = CSPNeXt(6, 9, depth=2).eval()
    assert stage(torch.randn(2, 6, 5, 7)).shape == (2, 9, 5, 7)
    assert len(stage.body) == 2 and stage.through[0].out_channels == 4
