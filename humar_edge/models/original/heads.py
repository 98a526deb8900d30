"""Prediction heads, one set per decoder layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from humar_edge.models.original.decoder import DecoderState
from humar_edge.models.original.encodings import inverse_sigmoid
from humar_edge.models.original.layers import Mlp

# Bias of rare events: a probability of 1 % before training (Lin et al., 2017).
PRIOR_BIAS = -math.log(99.0)


class Heads(nn.Module):
    """Class, box, pose and visibility of the queries; the layers do not share weights."""

    def __init__(self, width: int, classes: int, depth: int) -> None:
        super().__init__()
        self.classes = nn.ModuleList(nn.Linear(width, classes) for _ in range(depth))
        self.boxes = nn.ModuleList(Mlp(width, width, 4, 3) for _ in range(depth))
        self.poses = nn.ModuleList(Mlp(width, width, 2, 3) for _ in range(depth))
        self.visibility = nn.ModuleList(nn.Linear(width, 1) for _ in range(depth))
        for head in (*self.classes, *self.visibility):
            nn.init.constant_(head.bias, PRIOR_BIAS)
        for mlp in (*self.boxes, *self.poses):
            mlp.zero_last()

    def forward(self, layer: int, state: DecoderState) -> dict[str, Tensor]:
        """Predictions of one layer.

        Returns:
            `logits` [B,Q,classes]; `keypoints` [B,Q,17,2] (x, y) in [0, 1]; `visibility` [B,Q,17] logits;
            `boxes` [B,Q,4] cxcywh in [0, 1]; coordinates are relative to the unpadded image.
        """
        person = state.tokens[:, :, 0]
        offsets = self.boxes[layer](person)
        # The centre is refined from the reference that enters the layer.
        centre = offsets[..., :2] + inverse_sigmoid(state.references[:, :, 0])
        return {
            "logits": self.classes[layer](person),
            "keypoints": state.keypoints(),
            "visibility": self.visibility[layer](state.tokens[:, :, 1:]).squeeze(-1),
            "boxes": torch.cat((centre, offsets[..., 2:]), -1).sigmoid(),
        }
