"""Crops and pastes by matrices."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from humar_edge.models.heads.resample import crop, crop_many, paste, sample_matrix  # noqa: E402


def _ramp(height: int, width: int) -> "torch.Tensor":
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x, y])[None]


def test_a_crop_of_coordinates_reads_the_coordinates_of_its_cells() -> None:
    corner, size = torch.tensor([[0.3, 0.2]]), torch.tensor([[0.4, 0.5]])
    read = crop(_ramp(40, 56), corner, size, (16, 12))[0]
    x = 0.3 + 0.4 * (torch.arange(12) + 0.5) / 12
    y = 0.2 + 0.5 * (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(read[..., 0], x.expand(16, 12), atol=2e-3, rtol=0)
    torch.testing.assert_close(read[..., 1], y[:, None].expand(16, 12), atol=2e-3, rtol=0)


def test_a_crop_equals_bilinear_sampling_when_it_enlarges() -> None:
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 20, 24)
    corner, size = torch.tensor([[0.25, 0.3]]), torch.tensor([[0.35, 0.4]])
    read = crop(maps, corner, size, (32, 24))
    x = (0.25 + 0.35 * (torch.arange(24) + 0.5) / 24) * 2 - 1
    y = (0.3 + 0.4 * (torch.arange(32) + 0.5) / 32) * 2 - 1
    grid = torch.stack([x.expand(32, 24), y[:, None].expand(32, 24)], -1)[None]
    expected = torch.nn.functional.grid_sample(maps, grid, align_corners=False)
    torch.testing.assert_close(read, expected.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-5)


def test_a_shrinking_crop_keeps_the_mean() -> None:
    torch.manual_seed(1)
    maps = torch.rand(1, 1, 96, 96)
    read = crop(maps, torch.zeros(1, 2), torch.ones(1, 2), (12, 12))
    assert abs(float(read[0, 1:-1, 1:-1, 0].mean()) - float(maps.mean())) < 0.02


def test_outside_the_map_a_crop_is_zero() -> None:
    read = crop(torch.ones(1, 1, 8, 8), torch.tensor([[-1.0, 0.0]]), torch.tensor([[2.0, 1.0]]), (8, 16))
    assert read[0, :, :7].abs().max() == 0 and read[0, 2:-2, 10:14].min() > 0.99


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), shape=st.tuples(st.integers(1, 12), st.integers(1, 12)), windows=st.integers(1, 5))
def test_several_windows_of_one_map_are_single_crops(seed: int, shape: tuple[int, int], windows: int) -> None:
    """Whatever their place and size, beyond the border too."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, *shape, generator=generator)
    corner = torch.rand(2, windows, 2, generator=generator) * 2 - 0.5
    size = torch.rand(2, windows, 2, generator=generator) + 0.01
    found = crop_many(maps, corner, size, (4, 5))
    assert found.shape == (2, windows, 4, 5, 3)
    for window in range(windows):
        torch.testing.assert_close(found[:, window], crop(maps, corner[:, window], size[:, window], (4, 5)))


def test_paste_puts_a_crop_back() -> None:
    corner, size = torch.tensor([[0.25, 0.125]]), torch.tensor([[0.5, 0.75]])
    pasted = paste(crop(_ramp(64, 64)[:, :1], corner, size, (48, 32))[..., 0], corner, size, (64, 64), -10.0)
    inside = pasted[0, 9:55, 17:47]
    torch.testing.assert_close(inside, _ramp(64, 64)[0, 0, 9:55, 17:47], atol=5e-3, rtol=0)
    assert (pasted[0, :7] == -10).all() and (pasted[0, :, :15] == -10).all()


def test_sampling_at_cell_centres_reads_the_cells() -> None:
    weights = sample_matrix(torch.tensor([[[2.5 / 6, 1.5 / 4], [0.0, 0.0]]]), 4, 6)
    assert weights[0, 0, 1 * 6 + 2] == pytest.approx(1) and weights[0, 1, 0] == pytest.approx(1)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 2))
