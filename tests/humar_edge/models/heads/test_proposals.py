"""Proposed cells and boxes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from humar_edge.models.blocks import cell_centres  # noqa: E402
from humar_edge.models.heads.proposals import (  # noqa: E402
    PEAKS,
    ProposalHead,
    Proposals,
    candidates,
    candidates_at,
    peaks,
)

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def is_peak(plane: torch.Tensor, cell: int) -> bool:
    row, column = divmod(cell, plane.shape[1])
    around = plane[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return bool(plane[row, column] == around.max())


@settings(max_examples=60, deadline=None)
@given(shape=shapes, levels=st.integers(1, 100), seed=st.integers(0, 1000))
def test_local_maxima_come_first_and_both_parts_are_sorted(shape: tuple[int, int], levels: int, seed: int) -> None:
    """With few levels there are plateaus; maps may hold fewer cells than are asked for."""
    generator = torch.Generator().manual_seed(seed)
    plane = torch.randint(levels, shape, generator=generator).float() / 8
    plane = torch.stack([plane, plane.flip(1)])
    found = peaks(plane.flatten(1), shape)
    assert found.shape == (2, min(PEAKS, shape[0] * shape[1]))
    for values, cells in zip(plane, found, strict=True):
        assert len(set(cells.tolist())) == len(cells)
        kinds = [is_peak(values, cell) for cell in cells.tolist()]
        assert kinds == sorted(kinds, reverse=True)
        for kind in (True, False):
            ranked = [values.flatten()[cell].item() for cell, own in zip(cells.tolist(), kinds) if own is kind]
            assert ranked == sorted(ranked, reverse=True)
        missed = set(range(values.numel())) - set(cells.tolist())
        best = max((values.flatten()[cell].item() for cell in missed if is_peak(values, cell)), default=-1.0)
        assert not kinds[-1] or best <= values.flatten()[cells[-1]].item(), "a better peak was left out"
        assert kinds[-1] or best < 0, "other cells fill up before all peaks are taken"


def test_two_bumps_are_two_people_and_not_many_cells_of_the_higher_one() -> None:
    (x, y), near, far = cell_centres(16, 16), (0.24, 0.27), (0.7, 0.8)
    bumps = [height * torch.exp(-((x - a) ** 2 + (y - b) ** 2) * 40) for height, a, b in ((9, *near), (2, *far))]
    first, second = peaks(sum(bumps).flatten()[None], (16, 16), 2)[0].tolist()
    for cell, (a, b) in ((first, near), (second, far)):
        assert abs(x.flatten()[cell] - a) < 1 / 16 and abs(y.flatten()[cell] - b) < 1 / 16


@pytest.mark.parametrize("shape", [(4, 6), (32, 40)])
def test_an_untrained_side_is_five_and_a_half_cells_on_any_map(shape: tuple[int, int]) -> None:
    head = ProposalHead(8).eval()
    torch.nn.init.zeros_(head.sides.weight)
    with torch.no_grad():
        found = head(torch.randn(1, 8, *shape))
    assert found.objectness.shape == (1, shape[0] * shape[1]) and found.objectness.dtype == torch.float32
    cells = torch.tensor([shape[1], shape[0]])
    centres = cell_centres(*shape).flatten(1).T
    low, high = (centres - found.boxes[0, :, :2]) * cells, (found.boxes[0, :, 2:] - centres) * cells
    for sides in (low, high):
        torch.testing.assert_close(sides, torch.full_like(sides, 5.545), atol=1e-3, rtol=0)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 1000))
def test_candidates_are_rows_of_the_proposals_without_gradient(shape: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cells = shape[0] * shape[1]
    objectness = torch.randn(2, cells, generator=generator, requires_grad=True)
    boxes = torch.rand(2, cells, 4, generator=generator, requires_grad=True)
    proposals = Proposals(objectness, boxes)
    found = candidates(proposals, shape)
    assert torch.equal(found.cells, peaks(objectness, shape))
    assert not found.boxes.requires_grad and not found.score.requires_grad
    assert (found.score <= 0).all() and (found.score[:, 0] == 0).all()
    for row, places in enumerate(found.cells.tolist()):
        for rank, cell in enumerate(places):
            assert torch.equal(found.boxes[row, rank], boxes[row, cell])
            assert found.score[row, rank] == objectness[row, cell] - objectness[row, places[0]]
    again = candidates_at(proposals, found.cells)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
