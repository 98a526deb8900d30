"""Overlap of xyxy boxes, row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    overlap = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    own = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (a, b)]
    return overlap, own[0] + own[1] - overlap


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [...,4] -> [...], in [0,1]."""
    overlap, union = _areas(a, b)
    return overlap / union.clamp(min=1e-9)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., arXiv 1902.09630) of boxes [...,4] -> [...], in [-1,1]."""
    overlap, union = _areas(a, b)
    hull = (torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return overlap / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)
