"""Which query of UniPHD answers for which person: costs of all pairs at once, then the Hungarian method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from humar_edge.errors import DataError
from humar_edge.keypoints import SIGMAS

MATCHING_COSTS: dict[str, float] = {
    "class": 2.0,
    "box": 5.0,
    "giou": 2.0,
    "keypoints": 10.0,
    "oks": 4.0,
    "visibility": 4.0,
}
PERSON = 1
FOCAL_ALPHA = 0.25
# Smallest relative area: a person of less than half a pixel at 640×640 is a labelling error.
_SMALLEST_AREA = 1e-6


@dataclass(frozen=True)
class Target:
    """People of one image.

    Attributes:
        boxes: float [n,4], cxcywh in [0, 1] of the unpadded image.
        keypoints: float [n,17,2], (x, y) in [0, 1] of the unpadded image.
        visible: float [n,17], 1 = labelled, else 0.
        area: float [n], area of the person / area of the image.
        size: (height, width) of the unpadded image in pixels.
        masks: bool [n,height,width]; None where masks are not trained.
    """

    boxes: Tensor
    keypoints: Tensor
    visible: Tensor
    area: Tensor
    size: tuple[int, int]
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        wanted = {"boxes": (count, 4), "keypoints": (count, 17, 2), "visible": (count, 17), "area": (count,)}
        if self.masks is not None:
            wanted["masks"] = (count, *self.size)
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise DataError(f"target {name} has shape {found}, expected {shape}")


@dataclass(frozen=True)
class People:
    """All people of a batch in one list of N, with the index of their image."""

    image: Tensor
    boxes: Tensor
    keypoints: Tensor
    visible: Tensor
    area: Tensor
    stretch: Tensor

    @classmethod
    def of(cls, targets: Sequence[Target]) -> People:
        """Join the targets of the images of a batch."""
        counts = torch.tensor([len(target.boxes) for target in targets])
        sizes = torch.tensor([[target.size[1], target.size[0]] for target in targets], dtype=torch.float32)
        image = torch.arange(len(targets)).repeat_interleave(counts).to(targets[0].boxes.device)
        # Relative coordinates to a unit in which the image has area 1 and its true aspect.
        stretch = (sizes / sizes.prod(1, keepdim=True).sqrt()).to(image.device)[image]
        joined = {name: torch.cat([getattr(t, name).float() for t in targets]) for name in _JOINED}
        return cls(image, stretch=stretch, **joined)


_JOINED = ("boxes", "keypoints", "visible", "area")


def oks(points: Tensor, people: People) -> Tensor:
    """Object keypoint similarity of points float [...,N,17,2] with the N people, float [...,N] in [1e-6, 1]."""
    variance = (2.0 * torch.tensor(SIGMAS, dtype=torch.float32, device=points.device)) ** 2
    squared = ((points - people.keypoints) * people.stretch[:, None]).square().sum(-1)
    exponent = squared / (2.0 * people.area.clamp(min=_SMALLEST_AREA)[:, None] * variance)
    similarity = (people.visible * (-exponent).exp()).sum(-1) / (people.visible.sum(-1) + 1e-6)
    return similarity.clamp(min=1e-6)


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019) of cxcywh boxes [...,4], broadcast; 1e-6 added to the denominators."""

    def corners(box: Tensor) -> tuple[Tensor, Tensor]:
        return box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2

    (low, high), (other_low, other_high) = corners(boxes), corners(others)
    overlap = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(-1)
    union = boxes[..., 2:].prod(-1) + others[..., 2:].prod(-1) - overlap
    hull = (torch.maximum(high, other_high) - torch.minimum(low, other_low)).clamp(min=0).prod(-1)
    return overlap / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def pair_costs(predictions: Mapping[str, Tensor], people: People) -> Tensor:
    """Cost of every query for every person of the batch.

    Args:
        predictions: `logits` [B,Q,2] and `keypoints` [B,Q,17,2]; `boxes` [B,Q,4] and `visibility` logits [B,Q,17] where
            the predictor has them (proposals do not).
        people: the N people.

    Returns:
        float [B,Q,N].
    """
    p = predictions["logits"][..., PERSON].sigmoid()
    positive = FOCAL_ALPHA * (1 - p).square() * -(p + 1e-8).log()
    negative = (1 - FOCAL_ALPHA) * p.square() * -(1 - p + 1e-8).log()
    points = predictions["keypoints"][:, :, None]
    distance = (points - people.keypoints).abs().sum(-1) * people.visible
    parts = {
        "class": (positive - negative)[..., None],
        "keypoints": distance.sum(-1),
        "oks": 1.0 - oks(points, people),
    }
    if "boxes" in predictions:
        boxes = predictions["boxes"][:, :, None]
        parts["box"] = (boxes - people.boxes).abs().sum(-1)
        parts["giou"] = -giou(boxes, people.boxes)
    if "visibility" in predictions:
        logits = predictions["visibility"]
        # BCE(x, v) = softplus(x) − x·v
        parts["visibility"] = torch.nn.functional.softplus(logits).sum(-1)[..., None] - logits @ people.visible.T
    total = torch.zeros((*p.shape, len(people.area)), device=p.device)
    for name, part in parts.items():
        total = total + MATCHING_COSTS[name] * part
    return total


@dataclass(frozen=True)
class Matches:
    """Pairs, ordered by image and person: int64 [m] `image`, `query` in the image and `person` in the batch."""

    image: Tensor
    query: Tensor
    person: Tensor


@torch.no_grad()
def match(layers: Sequence[Mapping[str, Tensor]], targets: Sequence[Target]) -> list[Matches]:
    """Cheapest assignment per image, for each layer independently; costs travel to the host once.

    Args:
        layers: predictions of the layers, see `pair_costs`.
        targets: one per image.
    """
    from scipy.optimize import linear_sum_assignment

    people = People.of(targets)
    costs = torch.stack([pair_costs(layer, people) for layer in layers]).float().cpu()
    if not torch.isfinite(costs).all():
        raise FloatingPointError("matching costs are not finite; the network has diverged")
    owners = people.image.cpu()
    device = people.image.device
    matches = []
    for layer in costs:
        found: list[tuple[int, int, int]] = []
        for image in range(len(targets)):
            persons = (owners == image).nonzero()[:, 0]
            queries, columns = linear_sum_assignment(layer[image][:, persons].numpy())
            pairs = sorted(zip(columns.tolist(), queries.tolist(), strict=True))
            found += [(image, query, int(persons[column])) for column, query in pairs]
        table = torch.tensor(found, dtype=torch.int64).reshape(-1, 3).to(device)
        matches.append(Matches(*table.T.contiguous()))
    return matches
