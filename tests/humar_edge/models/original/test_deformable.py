from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.models.original import deformable  # noqa: E402

SHAPES = [
    ((7, 5), (4, 3), (2, 2), (1, 1)),
    ((1, 9), (3, 1)),
    ((6, 6),),
]


def inputs(shapes, spread, batch=2, queries=6, heads=3, depth=4, points=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cells = sum(height * width for height, width in shapes)
    value = torch.randn(batch, cells, heads, depth, generator=generator)
    locations = 0.5 + spread * torch.randn(batch, queries, heads, len(shapes), points, 2, generator=generator)
    weights = torch.rand(batch, queries, heads, len(shapes), points, generator=generator)
    return value, shapes, locations, weights


def by_hand(value, shapes, locations, weights):
    """Pixel by pixel, straight from the definition."""
    batch, queries, heads, _, points, _ = locations.shape
    out = torch.zeros(batch, queries, heads, value.shape[-1])
    start = 0
    for level, (height, width) in enumerate(shapes):
        image = value[:, start : start + height * width].reshape(batch, height, width, heads, -1)
        start += height * width
        for b, q, m, p in torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads, points))).tolist():
            x = locations[b, q, m, level, p, 0].item() * width - 0.5
            y = locations[b, q, m, level, p, 1].item() * height - 0.5
            for row in range(height):
                for column in range(width):
                    share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                    out[b, q, m] += share * weights[b, q, m, level, p] * image[b, row, column, m]
    return out


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("spread", [0.2, 3.0])
@pytest.mark.parametrize("strategy", sorted(deformable.STRATEGIES))
def test_strategies_equal_the_definition(strategy, shapes, spread):
    arguments = inputs(shapes, spread)
    found = deformable.STRATEGIES[strategy](*arguments)
    torch.testing.assert_close(found, by_hand(*arguments), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_strategies_agree_far_outside(seed):
    value, shapes, locations, weights = inputs(((13, 17), (7, 9), (4, 5), (2, 3)), 1.0, queries=40, seed=seed)
    locations[:, ::7] *= 1e6
    gathered = deformable.ms_deform_attn_gather(value, shapes, locations, weights)
    torch.testing.assert_close(
        gathered, deformable.ms_deform_attn_grid_sample(value, shapes, locations, weights), atol=1e-5, rtol=0
    )
    assert gathered[:, ::7].abs().max() == 0


def test_gradients_of_both_trainable_strategies_agree():
    value, shapes, locations, weights = inputs(SHAPES[0], 0.3)
    gradients = []
    for strategy in (deformable.ms_deform_attn_gather, deformable.ms_deform_attn_grid_sample):
        leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
        result = strategy(leaves[0], shapes, leaves[1], leaves[2])
        gradients.append(torch.autograd.grad(result.square().sum(), leaves))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_operator_is_well_formed():
    value, shapes, locations, weights = inputs(SHAPES[0], 0.3)
    starts = torch.tensor([0, 35, 47, 51], dtype=torch.int32)
    arguments = (value, torch.tensor(shapes, dtype=torch.int32), starts, locations, weights)
    torch.library.opcheck(torch.ops.humar.ms_deform_attn.default, arguments)


def test_strategy_is_restored():
    with deformable.deform_attn("gridsample"):
        assert deformable.active_strategy() == "gridsample"
    assert deformable.active_strategy() == "gather"
    with pytest.raises(ConfigError, match="gather, gridsample, plugin"), deformable.deform_attn("nearest"):
        pass


def test_sampling_between_cells_and_outside():
    feature_map = torch.arange(12.0).reshape(1, 3, 4, 1)
    cells = torch.tensor([[[0.0, 0.0], [3.0, 2.0], [1.5, 1.0], [3.5, 0.0], [9.0, 9.0]]])
    found = deformable.sample_bilinear(feature_map, cells)[0, :, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 11.0, 5.5, 1.5, 0.0]))


def test_initial_offsets_are_directions_of_growing_length():
    attention = deformable.DeformableAttention(width=64, levels=2, heads=8, points=3)
    offsets = attention.sampling_offsets.bias.detach().reshape(8, 2, 3, 2)
    torch.testing.assert_close(offsets[0, 1], torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    torch.testing.assert_close(offsets[1, 0, 1], torch.tensor([2.0, 2.0]))
    assert attention.sampling_offsets.weight.abs().max() == 0
    assert attention.attention_weights.weight.abs().max() == 0
