"""Selection of the most promising cells and their first poses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from humar_edge.models.original.encoder import Pyramid
from humar_edge.models.original.layers import Mlp, take

_MARGIN = 0.01
# The logit of 1 with a finite value: the sigmoid of this plus any sensible offset is exactly 1 in FP32 and FP16.
_LOGIT_OF_ONE = 1e4


@dataclass(frozen=True)
class Proposals:
    """The selected cells, in descending order of their score.

    Attributes:
        tokens: float [B,Q,C], transformed memory of the cell.
        logits: float [B,Q,classes].
        keypoints: float [B,Q,17,2], (x, y) in [0, 1] of the valid image.
        cells: int64 [B,Q], index of the cell among the S cells of the pyramid.
    """

    tokens: Tensor
    logits: Tensor
    keypoints: Tensor
    cells: Tensor

    def references(self) -> Tensor:
        """Centre (mean of the points) and the points themselves, float [B,Q,18,2]."""
        return with_centre(self.keypoints)


def with_centre(keypoints: Tensor) -> Tensor:
    """Put the mean of the points in front of them: [...,17,2] -> [...,18,2]."""
    return torch.cat((keypoints.mean(-2, keepdim=True), keypoints), -2)


class ProposalHead(nn.Module):
    """Scores every cell of the memory and takes the best ones as queries."""

    def __init__(self, width: int, classes: int, keypoints: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, classes)
        self.keypoints = Mlp(width, 2 * width, 2 * keypoints, 4)

    def forward(self, memory: Tensor, pyramid: Pyramid) -> Proposals:
        """Select cells.

        Cells in the padding or at the very border are blanked but still compete (trained weights depend on it);
        if one of them wins, all of its points are 1.

        Args:
            memory: float [B,S,C].
            pyramid: geometry of the S cells.
        """
        centres = pyramid.centres()
        valid = ((centres > _MARGIN) & (centres < 1 - _MARGIN)).all(-1)
        if pyramid.padding is not None:
            valid = valid & ~pyramid.padding
        tokens = self.norm(self.project(memory * valid[..., None].to(memory)))
        logits = self.classes(tokens)
        queries = min(self.queries, int(memory.shape[1]))
        cells = logits.amax(-1).topk(queries, 1).indices

        tokens = take(tokens, cells)
        logits = take(logits, cells)
        centres = centres.clamp(_MARGIN, 1 - _MARGIN)
        start = (centres / (1.0 - centres)).log()
        start = torch.where(valid[..., None], start, torch.full_like(start, _LOGIT_OF_ONE))
        start = take(start, cells)
        keypoints = (self.keypoints(tokens).unflatten(-1, (-1, 2)) + start[:, :, None]).sigmoid()
        return Proposals(tokens, logits, keypoints, cells)
