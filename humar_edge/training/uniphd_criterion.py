"""Losses of UniPHD: every decoder layer and the proposals are matched to the people and supervised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional

from humar_edge.errors import DataError
from humar_edge.training.uniphd_matching import FOCAL_ALPHA, PERSON, Matches, People, Target, giou, match, oks

COEFFICIENTS: dict[str, float] = {
    "class": 2.0,
    "box": 5.0,
    "giou": 2.0,
    "keypoints": 10.0,
    "oks": 4.0,
    "visibility": 4.0,
    "mask": 2.0,
    "dice": 5.0,
}
"""Weight of each loss; the parts before the `/` in the names of `UniPHDCriterion.losses`."""


def focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Focal loss (Lin et al., 2017) per element, α = 0.25 and γ = 2; `truth` is 0 or 1."""
    p = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = p + truth - 2 * p * truth
    alpha = FOCAL_ALPHA * truth + (1 - FOCAL_ALPHA) * (1 - truth)
    return alpha * missed.square() * entropy


class UniPHDCriterion:
    """Losses against the people of a batch.

    Example:
        >>> criterion = UniPHDCriterion()
        >>> outputs = model(images, padding, sizes, prompt, select=criterion.selector(targets))  # doctest: +SKIP
        >>> loss = criterion.total(criterion.losses(outputs, targets))  # doctest: +SKIP

    Args:
        upstream_visibility: average the visibility loss over the matches before dividing by the number of people, as
            the authors' code does, instead of dividing once; for exact comparisons only.
        coefficients: replaces entries of `COEFFICIENTS`.
    """

    def __init__(self, *, upstream_visibility: bool = False, coefficients: Mapping[str, float] | None = None) -> None:
        self.upstream_visibility = upstream_visibility
        self.coefficients = {**COEFFICIENTS, **(coefficients or {})}

    def selector(self, targets: Sequence[Target]) -> Callable[[dict[str, Any]], Tensor]:
        """Choice of masks for `UniPHD.forward`: the queries matched in the last layer, int64 [B, most people], by
        person; rows of images with fewer people are filled with query 0."""

        def select(outputs: dict[str, Any]) -> Tensor:
            found = match([outputs], targets)[0]
            chosen = torch.zeros(len(targets), max(1, _most(targets)), dtype=torch.int64, device=found.query.device)
            chosen[found.image, _rank(found)] = found.query
            return chosen

        return select

    def losses(self, outputs: Mapping[str, Any], targets: Sequence[Target]) -> dict[str, Tensor]:
        """All losses, not yet weighted.

        Args:
            outputs: of `UniPHD.forward`, with masks of the queries that `selector` chose.
            targets: one per image, on the device of the outputs.

        Returns:
            `class`, `box`, `giou`, `keypoints`, `oks`, `visibility`, `mask` and `dice` of the last layer; the first six
            as `name/i` of earlier layer i; `class/proposals`, `keypoints/proposals` and `oks/proposals`.

        Raises:
            DataError: a mask does not lie inside the canvas.
            ValueError: masks were decoded for other queries than the matched ones.
        """
        people = People.of(targets)
        layers = {"": outputs, "/proposals": outputs["proposals"]}
        layers |= {f"/{index}": layer for index, layer in enumerate(outputs["auxiliary"])}
        count = _number_of_people(people)
        losses: dict[str, Tensor] = {}
        for (suffix, layer), found in zip(layers.items(), match(list(layers.values()), targets), strict=True):
            losses |= {name + suffix: loss for name, loss in self._layer(layer, people, found, count).items()}
            if not suffix and all(target.masks is not None for target in targets):
                losses |= self._masks(outputs, targets, found, count)
        return losses

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum."""
        return torch.stack([self.coefficients[name.split("/")[0]] * loss for name, loss in losses.items()]).sum()

    def _layer(self, layer: Mapping[str, Tensor], people: People, found: Matches, count: Tensor) -> dict[str, Tensor]:
        place = (found.image, found.query)
        chosen = _take(people, found.person)
        truth = torch.zeros_like(layer["logits"])
        truth[found.image, found.query, PERSON] = 1.0
        points = layer["keypoints"][place]
        distance = (points - chosen.keypoints).abs().sum(-1)
        losses = {
            "class": focal(layer["logits"], truth).sum() / count,
            "keypoints": (distance * chosen.visible).sum() / count,
            "oks": (1.0 - oks(points, chosen)).sum() / count,
        }
        if "boxes" in layer:
            boxes = layer["boxes"][place]
            losses["box"] = (boxes - chosen.boxes).abs().sum() / count
            losses["giou"] = (1.0 - giou(boxes, chosen.boxes)).sum() / count
        if "visibility" in layer:
            entropy = functional.binary_cross_entropy_with_logits(
                layer["visibility"][place], chosen.visible, reduction="sum"
            )
            values = max(1, chosen.visible.numel()) if self.upstream_visibility else chosen.visible.shape[1]
            losses["visibility"] = entropy / values / count
        return losses

    def _masks(
        self, outputs: Mapping[str, Any], targets: Sequence[Target], found: Matches, count: Tensor
    ) -> dict[str, Tensor]:
        rank = _rank(found)
        if not torch.equal(outputs["mask_queries"][found.image, rank], found.query):
            raise ValueError(
                "masks were decoded for other queries; pass select=criterion.selector(targets) to the model"
            )
        logits = outputs["masks"][found.image, rank]
        truth, valid = _canvas_masks(targets, found, logits)
        pixels = (focal(logits, truth) * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)
        p = logits.sigmoid() * valid
        overlap = 2 * (p * truth).flatten(1).sum(1) + 1
        dice = 1.0 - overlap / (p.flatten(1).sum(1) + truth.flatten(1).sum(1) + 1)
        return {"mask": pixels.sum() / count, "dice": dice.sum() / count}


def _take(people: People, index: Tensor) -> People:
    return People(**{name: tensor[index] for name, tensor in vars(people).items()})


def _most(targets: Sequence[Target]) -> int:
    return max(len(target.boxes) for target in targets)


def _rank(found: Matches) -> Tensor:
    """Position of each pair among the pairs of its image (the pairs are ordered by image)."""
    position = torch.arange(len(found.image), device=found.image.device)
    return position - torch.searchsorted(found.image, found.image)


def _number_of_people(people: People) -> Tensor:
    """People in the batch, averaged over processes, at least 1; float scalar."""
    count = torch.tensor(float(len(people.area)), device=people.area.device)
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
    return count.clamp(min=1.0)


def _canvas_masks(targets: Sequence[Target], found: Matches, like: Tensor) -> tuple[Tensor, Tensor]:
    """True masks of the matched people on the canvas and the part of the canvas that is image, float [m,H,W] each."""
    height, width = int(like.shape[1]), int(like.shape[2])
    truth, valid = torch.zeros_like(like), torch.zeros_like(like)
    starts = [0]
    for target in targets:
        starts.append(starts[-1] + len(target.boxes))
    for row, (image, person) in enumerate(zip(found.image.tolist(), found.person.tolist(), strict=True)):
        target = targets[image]
        rows, columns = target.size
        if rows > height or columns > width or target.masks is None:
            raise DataError(f"a mask of {rows}x{columns} pixels does not lie inside the canvas of {height}x{width}")
        truth[row, :rows, :columns] = target.masks[person - starts[image]].to(like)
        valid[row, :rows, :columns] = 1.0
    return truth, valid
