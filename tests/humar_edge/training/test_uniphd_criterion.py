"""Vectorised costs and losses against loops that spell the formulas out."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from humar_edge.errors import DataError  # noqa: E402
from humar_edge.keypoints import SIGMAS  # noqa: E402
from humar_edge.training.uniphd_criterion import COEFFICIENTS, UniPHDCriterion, focal  # noqa: E402
from humar_edge.training.uniphd_matching import People, Target, giou, match, pair_costs  # noqa: E402

CANVAS = (32, 48)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bce(x, t):
    return -(t * math.log(sigmoid(x)) + (1 - t) * math.log(1 - sigmoid(x)))


def loop_oks(points, target, person):
    height, width = target.size
    scale = math.sqrt(width * height)
    total = weight = 0.0
    for k in range(17):
        dx = (points[k, 0] - target.keypoints[person, k, 0]).item() * width / scale
        dy = (points[k, 1] - target.keypoints[person, k, 1]).item() * height / scale
        v = target.visible[person, k].item()
        area = max(target.area[person].item(), 1e-6)
        total += v * math.exp(-(dx * dx + dy * dy) / (2 * area * (2 * SIGMAS[k]) ** 2))
        weight += v
    return max(total / (weight + 1e-6), 1e-6)


def loop_giou(a, b):
    ax, ay, aw, ah = a.tolist()
    bx, by, bw, bh = b.tolist()

    def span(c, s, d, t):
        low, high = (c - s / 2, d - t / 2), (c + s / 2, d + t / 2)
        return max(0.0, min(high) - max(low)), max(high) - min(low)

    overlap_x, hull_x = span(ax, aw, bx, bw)
    overlap_y, hull_y = span(ay, ah, by, bh)
    overlap, hull = overlap_x * overlap_y, hull_x * hull_y
    union = aw * ah + bw * bh - overlap
    return overlap / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def loop_cost(layer, image, query, target, person):
    p = sigmoid(layer["logits"][image, query, 1].item())
    cost = 2 * (0.25 * (1 - p) ** 2 * -math.log(p + 1e-8) - 0.75 * p**2 * -math.log(1 - p + 1e-8))
    points = layer["keypoints"][image, query]
    for k in range(17):
        v = target.visible[person, k].item()
        cost += 10 * v * (points[k] - target.keypoints[person, k]).abs().sum().item()
        if "visibility" in layer:
            cost += 4 * bce(layer["visibility"][image, query, k].item(), v)
    cost += 4 * (1 - loop_oks(points, target, person))
    if "boxes" in layer:
        box = layer["boxes"][image, query]
        cost += 5 * (box - target.boxes[person]).abs().sum().item()
        cost -= 2 * loop_giou(box, target.boxes[person])
    return cost


def make_target(count, size=CANVAS, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Target(
        boxes=0.3 + 0.4 * torch.rand(count, 4, generator=g),
        keypoints=torch.rand(count, 17, 2, generator=g),
        visible=(torch.rand(count, 17, generator=g) > 0.4).float(),
        area=0.05 + 0.2 * torch.rand(count, generator=g),
        size=size,
        masks=torch.rand(count, *size, generator=g) > 0.5,
    )


def make_outputs(batch, queries=6, masks=2, seed=1):
    g = torch.Generator().manual_seed(seed)

    def layer():
        values = {
            "logits": torch.randn(batch, queries, 2, generator=g),
            "keypoints": torch.rand(batch, queries, 17, 2, generator=g),
            "visibility": torch.randn(batch, queries, 17, generator=g),
            "boxes": 0.2 + 0.6 * torch.rand(batch, queries, 4, generator=g),
        }
        return {name: value.requires_grad_() for name, value in values.items()}

    outputs = layer()
    outputs["auxiliary"] = [layer()]
    outputs["proposals"] = {name: value for name, value in layer().items() if name in ("logits", "keypoints")}
    outputs["masks"] = torch.randn(batch, masks, *CANVAS, generator=g).requires_grad_()
    return outputs


@pytest.fixture
def targets():
    return [make_target(2, (24, 40), seed=2), make_target(0, seed=3), make_target(1, CANVAS, seed=4)]


@pytest.fixture
def outputs(targets):
    made = make_outputs(len(targets))
    made["mask_queries"] = UniPHDCriterion().selector(targets)(made)
    return made


@pytest.mark.parametrize("part", ["last", "proposals"])
def test_costs(outputs, targets, part):
    layer = outputs if part == "last" else outputs["proposals"]
    found = pair_costs(layer, People.of(targets))
    pairs = [(image, person) for image, target in enumerate(targets) for person in range(len(target.boxes))]
    for column, (image, person) in enumerate(pairs):
        for query in range(6):
            expected = loop_cost(layer, image, query, targets[image], person)
            assert found[image, query, column].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_assignment_is_the_cheapest_of_all(outputs, targets):
    for found, layer in zip(
        match([outputs, outputs["proposals"]], targets), (outputs, outputs["proposals"]), strict=True
    ):
        assert found.image.tolist() == [0, 0, 2]
        assert found.person.tolist() == [0, 1, 2]
        best = min(
            itertools.permutations(range(6), 2),
            key=lambda queries: sum(loop_cost(layer, 0, q, targets[0], n) for n, q in enumerate(queries)),
        )
        assert tuple(found.query[:2].tolist()) == best
        assert found.query[2] == min(range(6), key=lambda q: loop_cost(layer, 2, q, targets[2], 0))


def loop_losses(layer, found, targets, count):
    flat = [(targets[i], n) for i in range(len(targets)) for n in range(len(targets[i].boxes))]
    pairs = list(zip(found.image.tolist(), found.query.tolist(), found.person.tolist(), strict=True))
    matched = {(image, query) for image, query, _ in pairs}
    total = dict.fromkeys(("class", "keypoints", "oks", "box", "giou", "visibility"), 0.0)
    batch, queries, classes = layer["logits"].shape
    for image, query, index in itertools.product(range(batch), range(queries), range(classes)):
        x, t = layer["logits"][image, query, index].item(), float(index == 1 and (image, query) in matched)
        pt = sigmoid(x) if t else 1 - sigmoid(x)
        total["class"] += (0.25 if t else 0.75) * (1 - pt) ** 2 * bce(x, t)
    for image, query, person in pairs:
        target, n = flat[person]
        points = layer["keypoints"][image, query]
        total["keypoints"] += ((points - target.keypoints[n]).abs().sum(-1) * target.visible[n]).sum().item()
        total["oks"] += 1 - loop_oks(points, target, n)
        if "boxes" in layer:
            total["box"] += (layer["boxes"][image, query] - target.boxes[n]).abs().sum().item()
            total["giou"] += 1 - loop_giou(layer["boxes"][image, query], target.boxes[n])
            for k in range(17):
                total["visibility"] += (
                    bce(layer["visibility"][image, query, k].item(), target.visible[n, k].item()) / 17
                )
    return {name: value / count for name, value in total.items()}


def test_losses_of_every_layer(outputs, targets):
    losses = UniPHDCriterion().losses(outputs, targets)
    layers = {"": outputs, "/0": outputs["auxiliary"][0], "/proposals": outputs["proposals"]}
    checked = {"mask", "dice"}
    for (suffix, layer), found in zip(layers.items(), match(list(layers.values()), targets), strict=True):
        for name, expected in loop_losses(layer, found, targets, 3).items():
            if suffix == "/proposals" and name in ("box", "giou", "visibility"):
                continue
            assert losses[name + suffix].item() == pytest.approx(expected, rel=1e-4), name + suffix
            checked.add(name + suffix)
    assert checked == set(losses)


def test_mask_losses_ignore_the_padding_of_the_canvas(outputs, targets):
    losses = UniPHDCriterion().losses(outputs, targets)
    mask = dice = 0.0
    for image, slot, person in ((0, 0, 0), (0, 1, 1), (2, 0, 0)):
        rows, columns = targets[image].size
        logits = outputs["masks"][image, slot, :rows, :columns].detach()
        truth = targets[image].masks[person].float()
        mask += focal(logits, truth).mean().item()
        p = logits.sigmoid()
        dice += 1 - (2 * (p * truth).sum() + 1).item() / (p.sum() + truth.sum() + 1).item()
    assert losses["mask"].item() == pytest.approx(mask / 3, rel=1e-4)
    assert losses["dice"].item() == pytest.approx(dice / 3, rel=1e-4)


def test_total_is_the_weighted_sum(outputs, targets):
    criterion = UniPHDCriterion(coefficients={"mask": 7.0})
    losses = criterion.losses(outputs, targets)
    weights = COEFFICIENTS | {"mask": 7.0}
    expected = sum(weights[name.split("/")[0]] * value.item() for name, value in losses.items())
    assert criterion.total(losses).item() == pytest.approx(expected, rel=1e-5)


def test_upstream_visibility_divides_twice(outputs, targets):
    ours = UniPHDCriterion().losses(outputs, targets)["visibility"]
    theirs = UniPHDCriterion(upstream_visibility=True).losses(outputs, targets)["visibility"]
    assert theirs.item() == pytest.approx(ours.item() / 3, rel=1e-5)


def test_without_people_all_losses_are_finite_and_connected():
    targets = [make_target(0), make_target(0)]
    outputs = make_outputs(2)
    criterion = UniPHDCriterion()
    outputs["mask_queries"] = criterion.selector(targets)(outputs)
    losses = criterion.losses(outputs, targets)
    assert losses["visibility"] == 0 and losses["mask"] == 0 and losses["class"] > 0
    criterion.total(losses).backward()
    assert all(torch.isfinite(outputs[name].grad).all() for name in ("logits", "visibility", "boxes", "masks"))


def test_more_people_than_queries():
    targets = [make_target(8)]
    outputs = make_outputs(1, queries=6, masks=8)
    criterion = UniPHDCriterion()
    outputs["mask_queries"] = criterion.selector(targets)(outputs)
    assert torch.isfinite(criterion.total(criterion.losses(outputs, targets)))


def test_zero_area_does_not_divide_by_zero():
    target = make_target(1)
    target = Target(target.boxes, target.keypoints, target.visible, torch.zeros(1), target.size, target.masks)
    outputs = make_outputs(1)
    criterion = UniPHDCriterion()
    outputs["mask_queries"] = criterion.selector([target])(outputs)
    criterion.total(criterion.losses(outputs, [target])).backward()
    assert torch.isfinite(outputs["keypoints"].grad).all()


def test_masks_of_other_queries_are_refused(outputs, targets):
    outputs["mask_queries"] = (outputs["mask_queries"] + 1) % 6
    with pytest.raises(ValueError, match="selector"):
        UniPHDCriterion().losses(outputs, targets)


def test_sizes_that_do_not_fit_are_refused(outputs, targets):
    targets[0] = make_target(2, (40, 48), seed=2)
    outputs["mask_queries"] = UniPHDCriterion().selector(targets)(outputs)
    with pytest.raises(DataError, match="40x48 pixels does not lie inside the canvas of 32x48"):
        UniPHDCriterion().losses(outputs, targets)
    with pytest.raises(DataError, match="target area has shape"):
        Target(torch.zeros(2, 4), torch.zeros(2, 17, 2), torch.zeros(2, 17), torch.zeros(1), (8, 8))


def test_matching_says_when_the_network_has_diverged(targets):
    outputs = make_outputs(len(targets))
    outputs["keypoints"] = outputs["keypoints"].detach() * float("nan")
    with pytest.raises(FloatingPointError, match="diverged"):
        match([outputs], targets)


def test_giou_gradient_is_finite_for_empty_boxes():
    boxes = torch.zeros(1, 4, requires_grad=True)
    giou(boxes, torch.full((1, 4), 0.5)).sum().backward()
    assert torch.isfinite(boxes.grad).all()
