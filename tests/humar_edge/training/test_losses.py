"""Losses of the light families against plain formulas."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers", "accelerate"):
    pytest.importorskip(needed)

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from light_factory import Texts, colour_maker, network  # noqa: E402

from humar_edge.keypoints import SIGMAS  # noqa: E402
from humar_edge.models.blocks import cell_centres  # noqa: E402
from humar_edge.models.heads.instance import WINDOW, Instance, window  # noqa: E402
from humar_edge.training.batch import collate  # noqa: E402
from humar_edge.training.boxes import giou, iou  # noqa: E402
from humar_edge.training.losses import (  # noqa: E402
    LOSSES,
    ON_PERSON,
    box_loss,
    candidate_targets,
    cell_targets,
    decode_and_compare,
    draw_cells,
    instance_losses,
    jittered,
    losses,
    oks,
    proposal_loss,
    selection_loss,
)
from humar_edge.training.step import build_prompt  # noqa: E402

BOX = torch.tensor([[0.25, 0.125, 0.5, 0.875]])


@pytest.mark.parametrize(
    ("one", "other", "overlap", "generalised"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1, 1),
        ((0, 0, 1, 1), (2, 0, 3, 1), 0, -1 / 3),
        ((0, 0, 2, 1), (1, 0, 3, 1), 1 / 3, 1 / 3),
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4, 1 / 4),
        ((0, 0, 1, 1), (1, 1, 2, 2), 0, -1 / 2),
    ],
)
def test_overlap_of_boxes_by_hand(one, other, overlap: float, generalised: float) -> None:
    a, b = torch.tensor([one], dtype=torch.float32), torch.tensor([other], dtype=torch.float32)
    assert iou(a, b).item() == pytest.approx(overlap) and giou(a, b).item() == pytest.approx(generalised)
    assert giou(b, a).item() == pytest.approx(generalised)


def test_an_empty_box_has_a_finite_gradient() -> None:
    box = torch.tensor([[0.3, 0.3, 0.3, 0.3]], requires_grad=True)
    giou(box, BOX).sum().backward()
    assert torch.isfinite(box.grad).all()


def test_oks_is_coco_s_formula() -> None:
    torch.manual_seed(0)
    points, truth, area = torch.rand(3, 17, 2), torch.rand(3, 17, 3), torch.rand(3) * 0.2 + 0.01
    found = oks(points, truth, area)
    for person in range(3):
        for joint in range(17):
            squared = sum(
                (float(points[person, joint, axis]) - float(truth[person, joint, axis])) ** 2 for axis in (0, 1)
            )
            expected = math.exp(-squared / (2 * float(area[person]) * (2 * SIGMAS[joint]) ** 2))
            assert float(found[person, joint]) == pytest.approx(expected, abs=1e-5)


def test_cell_targets_are_distributions_that_peak_inside_the_box() -> None:
    boxes = torch.tensor([[0.25, 0.125, 0.5, 0.875], [0.9, 0.9, 0.93, 0.95], [0.0, 0.0, 1.0, 1.0]])
    shape = (12, 16)
    target = cell_targets(boxes, torch.zeros(3, 48, 64, dtype=torch.uint8), torch.zeros(3, dtype=torch.bool), shape)
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    centres = cell_centres(*shape).flatten(1).t()[target.argmax(1)]
    slack = torch.tensor([0.5 / 16, 0.5 / 12])
    assert (centres >= boxes[:, :2] - slack).all() and (centres <= boxes[:, 2:] + slack).all()
    spread = (target * (cell_centres(*shape).flatten(1)[0] - centres[:, :1]).square()).sum(1)
    assert spread[1] < spread[0] < spread[2], "wider people may be picked in more cells"


def test_cells_on_the_person_are_preferred_over_cells_in_the_box() -> None:
    mask = torch.zeros(2, 32, 32, dtype=torch.uint8)
    mask[:, :, :16] = 1
    box, known = torch.tensor([[0.2, 0.2, 0.8, 0.8]]).expand(2, 4), torch.tensor([True, False])
    target = cell_targets(box, mask, known, (8, 8)).view(2, 8, 8)
    left = target[:, :, :4].sum((1, 2))
    assert left[0] > 0.85 and left[1] == pytest.approx(0.5, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 12))
def test_candidates_on_the_person_share_the_target_as_their_cells_do(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(3, 20, generator=generator).square()
    target = target / target.sum(1, keepdim=True)
    cells = torch.stack([torch.randperm(20, generator=generator)[:count] for _ in range(3)])
    found = candidate_targets(target, cells)
    for row in range(3):
        values = [target[row, cell].item() for cell in cells[row].tolist()]
        kept = [value if value > ON_PERSON * target[row].max().item() else 0.0 for value in values]
        assert found[row].tolist() == pytest.approx([value / max(sum(kept), 1e-12) for value in kept], abs=1e-5)


def test_a_person_whom_no_candidate_is_on_has_no_target() -> None:
    """Of the second person one candidate lies at the rim only: too far for it to be the person."""
    target = torch.tensor([[0.0, 0.0, 0.6, 0.4], [0.02, 0.98, 0.0, 0.0], [0.5, 0.1, 0.4, 0.0]])
    found = candidate_targets(target, torch.tensor([[0, 1], [0, 2], [1, 2]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.2, 0.8]]))
    logits = torch.zeros(3, 3, requires_grad=True)
    selection_loss(logits, found, torch.tensor([True, True, True])).backward()
    assert not logits.grad[:2].any() and logits.grad[2].all()


def test_proposals_are_the_middle_of_people_whatever_else_is_in_the_picture() -> None:
    """Against the plain formula; a picture in which two are asked for has two maxima at its best."""
    target = torch.tensor([[0.1, 0.6, 0.3, 0.0], [0.0, 0.0, 0.2, 0.8], [0.25, 0.25, 0.25, 0.25]])
    owner = torch.tensor([1, 1, 0])
    objectness = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    found = proposal_loss(objectness, owner, target)
    for row in range(3):
        narrow = [value**4 for value in target[row].tolist()]
        share = objectness[owner[row]].softmax(0).tolist()
        expected = -sum(n / sum(narrow) * math.log(s) for n, s in zip(narrow, share, strict=True))
        assert found[row].item() == pytest.approx(expected, rel=1e-4)
    learned = torch.zeros(1, 4, requires_grad=True)
    for _ in range(200):
        proposal_loss(learned, torch.tensor([0, 0]), target[:2]).sum().backward()
        learned = (learned - learned.grad).detach().requires_grad_()
    share = learned.softmax(1)[0]
    assert share[1] > 0.4 and share[3] > 0.4


def test_selection_is_a_cross_entropy_over_candidates_and_nobody() -> None:
    logits = torch.zeros(2, 5)
    target = torch.tensor([[0.5, 0.5, 0, 0]])
    present = torch.tensor([True, False])
    assert selection_loss(logits, target, present).item() == pytest.approx(math.log(5))
    assert selection_loss(logits, target, present, torch.tensor(4)).item() == pytest.approx(math.log(5) / 2)


@pytest.mark.parametrize(("row", "right"), [(0, 1), (1, 4)])
def test_selection_prefers_the_right_candidate(row: int, right: int) -> None:
    target, present = torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([True, False])

    def loss(column: int) -> float:
        logits = torch.zeros(2, 5)
        logits[row, column] = 4
        return selection_loss(logits, target, present).item()

    values = [loss(column) for column in range(5)]
    assert min(range(5), key=values.__getitem__) == right


def test_selection_pulls_up_the_person_s_candidates_only() -> None:
    logits = torch.zeros(1, 10, requires_grad=True)
    target = torch.tensor([[0.0, 0.0, 0.7, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0]])
    selection_loss(logits, target, torch.tensor([True])).backward()
    assert (logits.grad[0] < 0).nonzero()[:, 0].tolist() == [2, 3]


def test_a_batch_of_absent_people_has_a_loss() -> None:
    loss = selection_loss(torch.zeros(3, 5), torch.zeros(0, 4), torch.zeros(3, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(5))


def test_cells_are_drawn_as_often_as_their_probability_says() -> None:
    target = torch.tensor([[0.0, 0.5, 0.25, 0.25, 0.0]])
    generator = torch.Generator().manual_seed(0)
    cells = draw_cells(target, torch.rand(1, 400, generator=generator))[0]
    assert torch.bincount(cells, minlength=5).tolist() == pytest.approx([0, 200, 100, 100, 0], abs=2)
    extreme = draw_cells(target, torch.tensor([[1e-4, 0.999999]]))[0]
    assert set(extreme.tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_cells_without_probability_are_never_drawn(uniform: float) -> None:
    target = torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    for count in (1, 4, 64):
        cells = draw_cells(target, torch.full((2, count), uniform))
        assert (target.gather(1, cells) > 0).all() and cells.shape == (2, count)
    assert draw_cells(torch.zeros(1, 6), torch.full((1, 4), uniform)).tolist() == [[0, 0, 0, 0]]


def test_jitter_is_small_centred_and_repeatable() -> None:
    uniform = torch.rand(4000, 4, generator=torch.Generator().manual_seed(0))
    moved = jittered(BOX.expand(4000, 4), uniform) - BOX
    assert torch.equal(moved + BOX, jittered(BOX.expand(4000, 4), uniform))
    size = (BOX[:, 2:] - BOX[:, :2]).repeat(1, 2)[0]
    assert (moved.mean(0).abs() < 0.005 * size).all()
    torch.testing.assert_close(moved.std(0), 0.06 * size, rtol=0.05, atol=0)


def test_box_loss_is_zero_at_the_truth_and_counts_relative_to_the_size() -> None:
    small = BOX * 0.2
    assert box_loss(BOX, BOX).item() == pytest.approx(0, abs=1e-6)
    shift = torch.tensor([0.1, 0.0, 0.1, 0.0])
    assert box_loss(BOX + shift, BOX).item() == pytest.approx(box_loss(small + 0.2 * shift, small).item(), rel=1e-4)


def found(keypoints: torch.Tensor, mask: torch.Tensor, box: torch.Tensor = BOX) -> Instance:
    """A prediction for `BOX`: heatmaps peak at `keypoints`, and so on."""
    corner, size = window(box)
    grid = cell_centres(*WINDOW)
    local = (keypoints - corner[:, None]) / size[:, None]
    heatmaps = -((grid[None, None] - local[..., None, None]) * 40).square().sum(2)
    return Instance(box, keypoints, keypoints, heatmaps, torch.full((1, 17), 4.0), mask, corner, size)


def truth() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keypoints [1,17,3] and mask [1,64,64] of a person who fills `BOX`, and the mask's logits on the window."""
    steps = torch.linspace(0.1, 0.9, 17)
    points = torch.stack([0.25 + 0.25 * steps, 0.125 + 0.75 * steps, torch.full((17,), 2.0)], 1)[None]
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[:, 8:56, 16:32] = 1
    corner, size = window(BOX)
    x, y = cell_centres(*WINDOW) * size[0][:, None, None] + corner[0][:, None, None]
    inside = (x > 0.25) & (x < 0.5) & (y > 0.125) & (y < 0.875)
    return points, mask, torch.where(inside, 8.0, -8.0)[None]


def test_the_truth_costs_less_than_anything_beside_it() -> None:
    points, mask, logits = truth()
    known = torch.tensor([True])
    best = instance_losses(found(points[..., :2], logits), BOX, points, mask, known)
    moved = instance_losses(
        found(points[..., :2] + 0.05, logits.flip(2).roll(9, 2), BOX + 0.03), BOX, points, mask, known
    )
    assert set(best) <= set(LOSSES)
    for name in ("heat", "oks", "keypoints", "mask", "refine"):
        assert best[name] < 0.7 * moved[name], name
    assert best["oks"] < 1e-3 and best["keypoints"] < 1e-5 and best["refine"] < 1e-5


def test_unlabelled_joints_and_missing_masks_teach_nothing() -> None:
    points, mask, logits = truth()
    points[0, 5:] = 0
    place, logits = (points[..., :2] + 0.02).requires_grad_(), logits.clone().requires_grad_()
    prediction = found(place, logits)
    prediction = prediction._replace(visibility=prediction.visibility.requires_grad_())
    sum(instance_losses(prediction, BOX, points, mask, torch.tensor([False])).values()).backward()
    assert place.grad[0, :5].all() and not place.grad[0, 5:].any()
    assert logits.grad is None or not logits.grad.any()
    assert prediction.visibility.grad is None or not prediction.visibility.grad.any()


def test_a_batch_alone_determines_its_losses(tmp_path) -> None:
    net, texts = network("fully_conv_optim").eval(), Texts()
    maker = colour_maker(tmp_path)
    batch = collate([maker.make(0, 1), maker.make(1, 1)])
    values = []
    with torch.no_grad():
        for seed in (1, 2):
            torch.manual_seed(seed)
            scene = net.scene(batch.image)
            values.append(losses(net.transformer, scene, build_prompt(net, texts, batch, scene.pyramid), batch, 2))
    assert set(values[0]) == set(LOSSES)
    for name in LOSSES:
        assert values[0][name] == values[1][name], name


def test_nobody_present_leaves_only_the_choice(tmp_path) -> None:
    net, maker = network("fully_conv_optim").eval(), colour_maker(tmp_path)
    sample = maker.make(0, 1)
    keep = [index for index, target in enumerate(sample.targets) if target.absent]
    batch = collate([type(sample)(sample.image, [sample.targets[i] for i in keep], sample.noise[keep])])
    with torch.no_grad():
        scene = net.scene(batch.image)
        parts, decoding = decode_and_compare(
            net.transformer, scene, build_prompt(net, Texts(), batch, scene.pyramid), batch
        )
    assert set(parts) == {"select"} and torch.isfinite(parts["select"])
    assert decoding.found is None and len(decoding.rows) == len(decoding.target) == 0


def test_what_was_compared_is_told(tmp_path) -> None:
    """Teachers and the naming of attributes use it."""
    net, maker = network("fully_conv_optim").eval(), colour_maker(tmp_path)
    batch = collate([maker.make(0, 1), maker.make(1, 1)])
    with torch.no_grad():
        scene = net.scene(batch.image)
        prompt = build_prompt(net, Texts(), batch, scene.pyramid)
        parts, decoding = decode_and_compare(net.transformer, scene, prompt, batch, 3)
    assert decoding.shape == (8, 8) and decoding.people is scene.people
    assert torch.equal(decoding.selection.cells, scene.people.cells[batch.owner])
    assert batch.present[decoding.rows].all() and len(decoding.rows) == len(decoding.cell) == 3
    shown = batch.present
    target = cell_targets(batch.box[shown], batch.mask[shown], batch.has_mask[shown], decoding.shape)
    wanted = candidate_targets(target, scene.people.cells[batch.owner[shown]])
    assert torch.equal(decoding.target, wanted)
    assert parts["select"] == selection_loss(decoding.selection.logits, wanted, shown)
    all_targets = torch.zeros(len(shown), 64)
    all_targets[shown] = target
    assert (all_targets[decoding.rows].gather(1, decoding.cell[:, None]) > 0).all(), "decoded where they may be picked"
