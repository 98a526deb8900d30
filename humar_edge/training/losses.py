"""Losses of the light families.

Exactly one person (or nobody) fits a prompt, so selection is one cross-entropy over the candidates and "nobody". Where
people are is learned without the prompt; boxes are supervised at cells drawn from where a person may be picked,
keypoints and mask on the window of a jittered true box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from humar_edge.keypoints import SIGMAS
from humar_edge.models.blocks import cell_centres
from humar_edge.models.heads.instance import WINDOW, Instance
from humar_edge.models.heads.people import People
from humar_edge.models.heads.resample import crop
from humar_edge.models.heads.selection import Selection, pick
from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.light import LightTransformer, Scene
from humar_edge.training.batch import Batch
from humar_edge.training.boxes import giou
from humar_edge.training.samples import DRAWS
from humar_edge.training.shared import shared_counts

BOX_CELLS = DRAWS - 6
"""Cells per person at which the dense box is supervised; the other draws are four for the jitter of the box, one for
whether to trust the prediction, and one for the turn to be decoded."""
ON_PERSON = 0.05
"""Least weight of a candidate that is the person, over that of the best cell."""
NARROW = 4
"""Power that narrows where a person may be picked to where one should be proposed, so that each has one peak."""
BODY_SHARE = 0.53
"""Area of a person over the area of the box, where OKS wants an area."""


def cell_targets(box: Tensor, mask: Tensor, has_mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where on the map each person may be picked: a Gaussian on the box, weighted by the mask.

    Args:
        box: [P,4] xyxy.
        mask: uint8 [P,h,w].
        has_mask: bool [P].
        shape: Rows and columns of the map.

    Returns:
        float32 [P,rows*columns], rows sum to 1.
    """
    centres = cell_centres(*shape, box.device).flatten(1)
    middle, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    spread = (size * 0.25).clamp(min=0.75 / max(shape))
    distance = ((centres[None] - middle[..., None]) / spread[..., None]).square().sum(1)
    inside = F.adaptive_avg_pool2d(mask[:, None].float(), shape).flatten(1)
    inside = torch.where(has_mask[:, None], inside, 1.0)
    weight = torch.exp(-distance / 2) * (0.1 + 0.9 * inside)
    return weight / weight.sum(1, keepdim=True).clamp(min=1e-12)


def oks(points: Tensor, keypoints: Tensor, area: Tensor) -> Tensor:
    """Object keypoint similarity per keypoint.

    Args:
        points: [P,17,2] predictions.
        keypoints: [P,17,3] truth, same unit.
        area: [P] area of the person in the squared unit.

    Returns:
        [P,17] in [0,1]: exp(-d^2 / (2 area (2 sigma)^2)), as COCO defines it.
    """
    sigmas = torch.tensor(SIGMAS, device=points.device)
    distance = (points - keypoints[..., :2]).square().sum(-1)
    return torch.exp(-distance / (2 * area[:, None] * (2 * sigmas).square() + 1e-9))


def jittered(box: Tensor, uniform: Tensor | None = None) -> Tensor:
    """True boxes [P,4] with noise like that of predicted ones: sides and centre move by about 6 % of the size.

    Args:
        box: xyxy.
        uniform: [P,4] in [0,1), the source of the noise; default: torch's generator.
    """
    uniform = torch.rand_like(box) if uniform is None else uniform
    size = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    noise = torch.erfinv((2 * uniform - 1).clamp(-0.9999, 0.9999)) * 2**0.5 * 0.06
    return box + noise * size


def draw_cells(target: Tensor, uniform: Tensor) -> Tensor:
    """Cells drawn from distributions, int64 [P,K]: stratified, one from each K-th of the probability.

    Args:
        target: [P,cells], rows sum to 1.
        uniform: [P,K] in [0,1).
    """
    strata = torch.arange(uniform.shape[1], device=uniform.device)
    share = target.cumsum(1)
    drawn = torch.searchsorted(share, (strata + uniform) / uniform.shape[1] * share[:, -1:], right=True)
    # rounding may reach the whole sum; the first cell that reaches it is the last one with a probability
    return torch.minimum(drawn, torch.searchsorted(share, share[:, -1:].contiguous()))


def candidate_targets(target: Tensor, cells: Tensor) -> Tensor:
    """Which candidates are the person.

    Args:
        target: float32 [P,cells] of `cell_targets`.
        cells: int64 [P,K] of the candidates.

    Returns:
        float32 [P,K]; rows sum to 1, or to 0 where no candidate is on the person.
    """
    value = target.gather(1, cells)
    value = torch.where(value > ON_PERSON * target.amax(1, keepdim=True), value, 0.0)
    return value / value.sum(1, keepdim=True).clamp(min=1e-12)


def selection_loss(logits: Tensor, target: Tensor, present: Tensor, count: Tensor | None = None) -> Tensor:
    """Cross-entropy over candidates and "nobody". Scalar.

    Args:
        logits: [N,K+1].
        target: [P,K] for the P present prompts, see `candidate_targets`.
        present: bool [N].
        count: Divides the sum; default N.
    """
    log_share = logits.log_softmax(1)
    found = -(target * log_share[present][:, :-1]).sum(1)
    total = torch.cat([found, -log_share[~present][:, -1]]).sum()
    return total / (len(present) if count is None else count)


def proposal_loss(objectness: Tensor, owner: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the cells in the middle of each person, over all cells of the picture. [P].

    A softmax, because people whom nobody annotated must not count as background.

    Args:
        objectness: [B,cells].
        owner: int64 [P] picture of each person.
        target: [P,cells] of `cell_targets`.
    """
    middle = target**NARROW
    middle = middle / middle.sum(1, keepdim=True).clamp(min=1e-12)
    return -(middle * objectness.log_softmax(1)[owner]).sum(1)


def box_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """GIoU and L1 relative to the size of the person, per row of [...,4]."""
    size = (truth[..., 2:] - truth[..., :2]).clamp(min=0.02)
    relative = (boxes - truth).abs() / torch.cat([size, size], -1)
    return 2 * (1 - giou(boxes, truth)) + relative.clamp(max=4).mean(-1)


class Counts(NamedTuple):
    """What sums over decoded people are divided by: people, labelled joints, people with masks."""

    people: Tensor
    joints: Tensor
    masks: Tensor


def instance_losses(
    found: Instance,
    batch_box: Tensor,
    keypoints: Tensor,
    mask: Tensor,
    has_mask: Tensor,
    counts: Counts | None = None,
) -> dict[str, Tensor]:
    """Losses of the decoded people; all arguments but the counts have P rows."""
    labelled = (keypoints[..., 2] > 0).float()
    masks = has_mask.float()
    if counts is None:
        counts = Counts(*shared_counts(len(batch_box), labelled.sum(), masks.sum(), device=batch_box.device))
    local = (keypoints[..., :2] - found.corner[:, None]) / found.size[:, None]
    in_window = labelled * ((local > 0) & (local < 1)).all(-1).float()
    grid = cell_centres(*WINDOW, local.device)
    cells = torch.tensor([WINDOW[1], WINDOW[0]], device=local.device)
    distance = ((grid[None, None] - local[..., None, None]) * cells[:, None, None]).square().sum(2)
    heat = torch.exp(-distance / 2).flatten(2)
    heat = heat / heat.sum(2, keepdim=True).clamp(min=1e-9)
    cross = -(heat * found.heatmaps.flatten(2).log_softmax(2)).sum(2)
    size = batch_box[:, 2:] - batch_box[:, :2]
    area = size.prod(1) * BODY_SHARE
    similarity = sum(1 - oks(points, keypoints, area) for points in (found.keypoints, found.coarse))
    relative = (found.keypoints - keypoints[..., :2]) / found.size[:, None]
    truth = crop(mask[:, None].float(), found.corner, found.size, WINDOW)[..., 0]
    pixels = F.binary_cross_entropy_with_logits(found.mask, truth, reduction="none").mean((1, 2))
    share = found.mask.sigmoid()
    overlap = 2 * (share * truth).sum((1, 2)) + 1
    dice = 1 - overlap / (share.sum((1, 2)) + truth.sum((1, 2)) + 1)
    # data without masks labels only some joints (no faces): an unlabelled joint there does not mean a hidden one
    unseen = F.binary_cross_entropy_with_logits(found.visibility, labelled, reduction="none").mean(1)
    return {
        "heat": 0.2 * (cross * in_window).sum() / counts.joints,
        "oks": 1.5 * (similarity * labelled).sum() / counts.joints,
        "keypoints": 4 * (relative.abs().sum(-1).clamp(max=2) * labelled).sum() / counts.joints,
        "visible": 0.5 * (unseen * masks).sum() / counts.masks,
        "mask": ((2 * pixels + 2 * dice) * masks).sum() / counts.masks,
        "refine": box_loss(found.box, batch_box).sum() / counts.people,
    }


LOSSES = ("select", "propose", "box", "heat", "oks", "keypoints", "visible", "mask", "refine")
"""Parts of the loss, in the order in which they are shown."""


class Decoding(NamedTuple):
    """What the network says about a batch, for losses against truth or a teacher.

    Attributes:
        shape: Rows and columns of the stride-8 map.
        people: Candidates of the B pictures.
        selection: N rows.
        rows: int64 [D] prompts whose person is decoded.
        cell: int64 [D] the cell of each.
        window: float32 [D,4] the box in which each is looked for.
        found: D rows; None when D is 0.
        target: float32 [P,K] which candidates are the people of the P present prompts.
    """

    shape: tuple[int, int]
    people: People
    selection: Selection
    rows: Tensor
    cell: Tensor
    window: Tensor
    found: Instance | None
    target: Tensor


def losses(
    transformer: LightTransformer, scene: Scene, prompt: Prompt, batch: Batch, decoded: int | None = None
) -> dict[str, Tensor]:
    """All parts, already weighted; their sum is the loss. See `decode_and_compare`."""
    return decode_and_compare(transformer, scene, prompt, batch, decoded)[0]


def decode_and_compare(
    transformer: LightTransformer, scene: Scene, prompt: Prompt, batch: Batch, decoded: int | None = None
) -> tuple[dict[str, Tensor], Decoding]:
    """Losses and what they were computed from.

    Args:
        transformer: The network.
        scene: Of the batch's pictures (B rows).
        prompt: One row per prompt (N rows).
        batch: Targets; with `noise`, the result depends on nothing else.
        decoded: Decode keypoints and mask of so many random people at most: choosing the person needs more samples
            than describing the chosen one, and costs less.
    """
    pyramid, proposals = scene.pyramid, scene.proposals
    shape = (pyramid.p3.shape[-2], pyramid.p3.shape[-1])
    selection = transformer.select(scene.people.rows(batch.owner), prompt)
    present, device = batch.present, pyramid.p3.device
    noise = torch.rand(len(present), DRAWS, device=device) if batch.noise is None else batch.noise
    box, noise, owner = batch.box[present], noise[present], batch.owner[present]
    some = noise[:, -1].argsort()[:decoded]
    rows_of = present.nonzero()[:, 0][some]
    keypoints, has_mask = batch.keypoints[rows_of], batch.has_mask[rows_of]
    joints = (keypoints[..., 2] > 0).sum()
    counts = shared_counts(len(present), len(box), len(some), joints, has_mask.sum(), device=device)
    target = cell_targets(box, batch.mask[present], batch.has_mask[present], shape)
    chosen = candidate_targets(target, selection.cells[present])
    parts = {"select": selection_loss(selection.logits, chosen, present, counts[0])}
    if not len(box):
        return parts, Decoding(shape, scene.people, selection, rows_of, rows_of, box, None, chosen)
    parts["propose"] = 0.5 * proposal_loss(proposals.objectness, owner, target).sum() / counts[1]
    cells = draw_cells(target, noise[:, :BOX_CELLS])
    dense = proposals.boxes[owner].gather(1, cells[..., None].expand(-1, -1, 4))
    parts["box"] = box_loss(dense, box[:, None].expand_as(dense)).mean(1).sum() / counts[1]
    box, noise, cell, owner = box[some], noise[some], cells[some, 0], owner[some]
    predicted = pick(proposals.boxes[owner], cell).detach()
    trusted = ((noise[:, -2] < 0.5) & (giou(predicted, box) > 0.5))[:, None]
    window = torch.where(trusted, predicted, jittered(box, noise[:, BOX_CELLS : BOX_CELLS + 4]))
    found = transformer.decode(pyramid.rows(owner), prompt.rows(rows_of), cell, window)
    parts |= instance_losses(found, box, keypoints, batch.mask[rows_of], has_mask, Counts(*counts[2:]))
    return parts, Decoding(shape, scene.people, selection, rows_of, cell, window, found, chosen)
