"""Candidates as prompts see them: what lies on the grid over each, and how they compare."""

from __future__ import annotations

from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers", "accelerate"):
    pytest.importorskip(needed)

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from humar_edge.models.heads.people import (  # noqa: E402
    GRID,
    REACH,
    SHARP,
    People,
    PeopleEncoder,
    grid_window,
    overlaps,
)
from humar_edge.models.heads.proposals import Candidates  # noqa: E402
from humar_edge.training.boxes import iou  # noqa: E402

CHANNELS, WIDTH, RELATIONS = 6, 16, 8
CERTAIN = 30.0
"""Logit of an encoder that takes everybody for real."""


class Facts(NamedTuple):
    """What the encoder makes of boxes, in the order in which its linear layers read it: [K,...] and [K,K,...]."""

    middle: torch.Tensor
    size: torch.Tensor
    waves: torch.Tensor
    score: torch.Tensor
    alone: torch.Tensor
    real: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    count: torch.Tensor
    pairs: torch.Tensor


def encoder(real: float = CERTAIN) -> PeopleEncoder:
    torch.manual_seed(0)
    found = PeopleEncoder(CHANNELS, WIDTH, RELATIONS).eval().requires_grad_(False)
    torch.nn.init.zeros_(found.real.weight)
    torch.nn.init.constant_(found.real.bias, real)
    return found


def places(boxes: torch.Tensor) -> Candidates:
    """Candidates [1,K] at boxes [K,4]; each scores 1 less than the one before."""
    numbers = torch.arange(len(boxes))
    return Candidates(numbers[None], boxes[None], -numbers[None].float())


def facts(module: PeopleEncoder, boxes: torch.Tensor) -> Facts:
    seen, layers = [], (module.shape, module.relate)
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0])) for layer in layers]
    module(torch.zeros(1, CHANNELS, 8, 8), places(boxes))
    for hook in hooks:
        hook.remove()
    shape, pairs = seen
    return Facts(*shape.split((2, 2, 4, 1, 1, 1, 3, 3, 1), -1), pairs)


def random_boxes(seed: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 0.7
    return torch.cat([corner, corner + 0.02 + 0.28 * torch.rand(count, 2, generator=generator)], 1)


def row_of_people(count: int) -> torch.Tensor:
    """Disjoint boxes; each further right is lower and taller."""
    step = torch.arange(count) / count
    return torch.stack([step, 0.5 - step / 3, step + 0.6 / count, 0.6 + step / 3], 1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 8))
def test_overlaps_are_the_iou_of_all_pairs(seed: int, count: int) -> None:
    boxes = random_boxes(seed, count)
    boxes[0, 2:] = boxes[0, :2] - 0.1  # an untrained box may be turned inside out
    found = overlaps(boxes[None])[0]
    for one in range(count):
        torch.testing.assert_close(found[one], iou(boxes[one].expand(count, 4), boxes), atol=2e-3, rtol=0)


def test_the_grid_lies_on_the_middle_of_the_box_and_reaches_beyond_it() -> None:
    boxes = torch.tensor([[[0.2, 0.1, 0.4, 0.9]]])
    corner, size = grid_window(boxes)
    torch.testing.assert_close(size, torch.tensor([[[0.2, 0.8]]]) * REACH)
    torch.testing.assert_close(corner + size / 2, torch.tensor([[[0.3, 0.5]]]))


def test_people_are_counted_left_above_and_below_in_size() -> None:
    """Feet count, not heads: the third stands behind the fourth, though the fourth's head is higher."""
    boxes = torch.tensor(
        [[0.60, 0.50, 0.70, 0.90], [0.10, 0.20, 0.20, 0.80], [0.30, 0.40, 0.40, 0.60], [0.80, 0.05, 0.90, 1.00]]
    )
    left, behind, shorter = [2, 0, 1, 3], [2, 1, 0, 3], [1, 2, 0, 3]
    found = facts(encoder(), boxes)
    torch.testing.assert_close(found.before, 0.3 * torch.tensor([left, behind, shorter]).T, atol=0.01, rtol=0)
    torch.testing.assert_close(found.before + found.after, found.count.expand(-1, 3))
    torch.testing.assert_close(found.count, torch.full((4, 1), 0.3 * 4))
    torch.testing.assert_close(found.middle[1], torch.tensor([0.15, 0.5]))
    torch.testing.assert_close(found.size[1], torch.tensor([0.1, 0.6]))
    assert found.score[:, 0].tolist() == pytest.approx([0, -0.2, -0.4, -0.6])


def test_who_is_not_real_is_not_counted() -> None:
    found = facts(encoder(-CERTAIN), row_of_people(4))
    assert found.count.abs().max() < 1e-6 and found.before.abs().max() < 1e-6 and found.real.max() < 1e-6


@pytest.mark.parametrize(("overlap", "alone"), [(1.0, 0.0), (0.7, 0.0), (0.6, 0.5), (0.5, 1.0), (0.2, 1.0)])
def test_twins_count_less_the_more_they_overlap(overlap: float, alone: float) -> None:
    """Boxes of one size, moved sideways by d: IoU = (w - d) / (w + d)."""
    moved = 0.2 * (1 - overlap) / (1 + overlap)
    boxes = torch.tensor([[0.1, 0.1, 0.3, 0.7], [0.7, 0.1, 0.9, 0.7], [0.1, 0.1, 0.3, 0.7]])
    boxes[2, [0, 2]] += moved
    found = facts(encoder(), boxes)
    assert found.alone[:, 0].tolist() == pytest.approx([1, 1, alone], abs=1e-3), "the better one counts as before"
    torch.testing.assert_close(found.real, found.alone)
    assert found.count[0].item() == pytest.approx(0.3 * (2 + alone), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(2, 8))
def test_comparisons_of_pairs_are_opposite_from_both_sides(seed: int, count: int) -> None:
    boxes = random_boxes(seed, count)
    found = facts(encoder(), boxes)
    ours = found.pairs[..., :7]
    torch.testing.assert_close(ours, -ours.transpose(0, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.pairs[..., 7], found.real[:, 0].expand(count, count))
    step = found.middle[0, 0] - found.middle[1, 0]
    height = torch.log(found.size[0, 1] / found.size[1, 1])
    expected = [4 * step, torch.tanh(SHARP * step), height]
    torch.testing.assert_close(found.pairs[0, 1, [0, 3, 6]], torch.stack(expected), atol=1e-4, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)))
def test_the_order_of_people_who_do_not_overlap_is_only_an_order(order: list[int]) -> None:
    torch.manual_seed(1)
    module, x, found = encoder(0.3), torch.randn(1, CHANNELS, 12, 16), places(row_of_people(5))
    one = module(x, found)
    other = module(x, Candidates(*(value[:, order] for value in found)))
    for name in ("cells", "boxes", "person", "keys", "values"):
        torch.testing.assert_close(getattr(other, name), getattr(one, name)[:, order])
    torch.testing.assert_close(other.relations, one.relations[:, :, order][..., order])


def test_each_candidate_is_read_where_its_box_is() -> None:
    """A change at one person's feet shows in the lower rows of that person's grid and nowhere else."""
    torch.manual_seed(2)
    module, boxes = encoder(), torch.tensor([[0.1, 0.1, 0.3, 0.9], [0.6, 0.1, 0.8, 0.9]])
    x = torch.randn(1, CHANNELS, 32, 32)
    changed = x.clone()
    changed[:, :, 24:28, 4:9] += 3
    one, other = module(x, places(boxes)), module(changed, places(boxes))
    assert one.person.shape == (1, 2, WIDTH) and one.relations.shape == (1, RELATIONS, 2, 2)
    for before, after in ((one.keys, other.keys), (one.values, other.values)):
        assert before.shape == (1, 2, GRID[0] * GRID[1], WIDTH)
        change = (after - before).abs().amax(-1).view(2, *GRID)
        assert change[1].max() == 0 and change[0, : GRID[0] // 2].max() == 0
        assert change[0, GRID[0] // 2 :].max() > 0.1
    assert not torch.allclose(one.person[:, 0], other.person[:, 0])


def test_rows_repeat_the_people_of_a_picture() -> None:
    module = encoder()
    boxes = torch.stack([row_of_people(3), row_of_people(3).flip(0)])
    people = module(torch.randn(2, CHANNELS, 8, 8), Candidates(torch.zeros(2, 3).long(), boxes, torch.zeros(2, 3)))
    found = people.rows(torch.tensor([1, 0, 1]))
    assert isinstance(found, People)
    for value, picture in zip(found, people, strict=True):
        assert torch.equal(value, torch.stack([picture[1], picture[0], picture[1]]))
