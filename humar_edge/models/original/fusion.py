"""Fusion of the visual maps with the words or points of the prompt."""

from __future__ import annotations

from torch import Tensor, nn

from humar_edge.models.original.layers import MultiHeadAttention
from humar_edge.models.original.prompts import PromptFeatures


class Fusion(nn.Module):
    """Cross attention from the cells of a map to the prompt, with a residual and no norm.

    One set of weights serves all levels; text and positional prompts have a set each.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text = MultiHeadAttention(width)
        self.points = MultiHeadAttention(width)

    def forward(self, feature_map: Tensor, prompt: PromptFeatures) -> Tensor:
        """Condition a map [B,C,h,w] on the prompt; same shape out. The visual position is not used."""
        height, width = int(feature_map.shape[2]), int(feature_map.shape[3])
        cells = feature_map.flatten(2).transpose(1, 2)
        attention = self.text if prompt.kind == "text" else self.points
        fused = cells + attention(cells, prompt.tokens + prompt.positions, prompt.tokens, prompt.padding)
        return fused.transpose(1, 2).unflatten(2, (height, width))
