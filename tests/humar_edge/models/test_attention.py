"""Linear attention over cells."""

import pytest

torch = pytest.importorskip("torch")

from humar_edge.models.attention import LEAST_NORMALISER, AttentionBlock, LinearAttention  # noqa: E402


def attention(channels: int = 12, heads: int = 3) -> LinearAttention:
    torch.manual_seed(0)
    return LinearAttention(channels, heads).eval()


def test_it_equals_the_quadratic_formula() -> None:
    layer = attention()
    x = torch.randn(2, 12, 4, 5)
    query, key, value = layer.qkv(x).chunk(3, 1)
    q, k, v = (part.reshape(2, 3, 4, 20).transpose(2, 3) for part in (query, key, value))
    weights = torch.relu(q) @ torch.relu(k).transpose(2, 3) / 20
    mixed = (weights / (weights.sum(3, keepdim=True) + LEAST_NORMALISER)) @ v
    expected = layer.out(mixed.transpose(2, 3).reshape(2, 12, 4, 5) + layer.near(value))
    torch.testing.assert_close(layer(x), expected)


def test_far_cells_reach_each_other() -> None:
    layer = attention()
    x = torch.randn(1, 12, 6, 8, requires_grad=True)
    layer(x)[0, :, 0, 0].sum().backward()
    assert x.grad[0, :, 5, 7].abs().sum() > 0


def test_sums_do_not_depend_on_the_number_of_cells() -> None:
    """A map tiled four times has the same means, so away from the seams the result is the same."""
    layer = attention()
    x = torch.randn(1, 12, 8, 8)
    small, large = layer(x), layer(x.repeat(1, 1, 2, 2))
    torch.testing.assert_close(large[..., 2:6, 2:6], small[..., 2:6, 2:6], atol=1e-5, rtol=1e-4)


def test_sums_are_float32_in_reduced_precision() -> None:
    """In FP16 the sum over 6,400 cells would overflow here; in bfloat16 it would lose most of its terms."""
    layer = attention(48, 2)
    x = torch.randn(1, 48, 80, 80) * 60
    whole = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = layer(x)
    assert reduced.dtype == torch.bfloat16
    assert (reduced - whole).abs().mean() < 0.02 * whole.abs().mean()
    halved = layer.half()(x.half()).float()
    assert (halved - whole).abs().mean() < 0.02 * whole.abs().mean()


def test_a_query_without_keys_stays_finite_and_so_do_its_gradients() -> None:
    layer = AttentionBlock(8, 2, expand=2).eval()
    x = torch.zeros(1, 8, 3, 3, requires_grad=True)
    found = layer(x)
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(x.grad).all()
