"""Decoder: 18 tokens per query (the person and 17 keypoints), refined layer by layer with their reference points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from humar_edge.models.original.deformable import DeformableAttention
from humar_edge.models.original.encoder import Pyramid
from humar_edge.models.original.encodings import encode_points, inverse_sigmoid
from humar_edge.models.original.layers import Mlp, MultiHeadAttention
from humar_edge.models.original.proposals import with_centre


class DecoderLayer(nn.Module):
    """Attention among queries, deformable attention to the image, attention among the tokens of a person."""

    def __init__(self, width: int, levels: int, hidden: int, tokens: int, heads: int = 8) -> None:
        super().__init__()
        self.across_attn = MultiHeadAttention(width, heads)
        self.across_norm = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(width, levels, heads)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)
        self.adjacent_matrix = nn.Parameter(torch.zeros(heads, tokens, tokens))
        self.within_attn = MultiHeadAttention(width, heads)
        self.within_norm = nn.LayerNorm(width)
        self.linear1_ = nn.Linear(width, hidden)
        self.linear2_ = nn.Linear(hidden, width)
        self.norm2_ = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, codes: Tensor, references: Tensor, memory: Tensor, pyramid: Pyramid) -> Tensor:
        """One layer.

        Args:
            tokens: float [B,Q,J,C].
            codes: float [B,Q,J,C], position codes, zero for token 0.
            references: float [B,Q,J,2], (x, y) in [0, 1] of the valid image.
            memory: float [B,S,C].
            pyramid: geometry of the memory.

        Returns:
            float [B,Q,J,C].
        """
        batch, queries, count, width = (int(size) for size in tokens.shape)
        lists = tokens.transpose(1, 2).reshape(batch * count, queries, width)
        lists = self.across_norm(lists + self.across_attn(lists, lists, lists))
        # The position joins the residual stream, not only queries and keys: trained weights depend on it.
        x = lists.reshape(batch, count, queries, width).transpose(1, 2) + codes

        flat = x.reshape(batch, queries * count, width)
        places = references.reshape(batch, queries * count, 1, 2) * pyramid.ratios[:, None]
        flat = self.norm1(flat + self.cross_attn(flat, places, memory, pyramid.shapes, pyramid.padding))
        flat = self.norm2(flat + self.linear2(functional.relu(self.linear1(flat))))

        people = flat.reshape(batch * queries, count, width) + codes.reshape(batch * queries, count, width)
        people = self.within_norm(people + self.within_attn(people, people, people, bias=self.adjacent_matrix))
        people = self.norm2_(people + self.linear2_(functional.relu(self.linear1_(people))))
        return people.reshape(batch, queries, count, width)


@dataclass(frozen=True)
class DecoderState:
    """What the heads of one layer see.

    Attributes:
        tokens: float [B,Q,J,C], output of the layer.
        references: float [B,Q,J,2], references entering the layer, connected to the layer before.
        offsets: float [B,Q,17,2], output of the layer's pose head, in logits.
    """

    tokens: Tensor
    references: Tensor
    offsets: Tensor

    def keypoints(self) -> Tensor:
        """Refined points, float [B,Q,17,2] in [0, 1]."""
        return (inverse_sigmoid(self.references[:, :, 1:]) + self.offsets).sigmoid()


class Decoder(nn.Module):
    """Stack of decoder layers with iterative refinement of the reference points."""

    def __init__(self, width: int, levels: int, hidden: int, tokens: int, depth: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(DecoderLayer(width, levels, hidden, tokens) for _ in range(depth))
        self.position_head = Mlp(width, width, width, 2)

    def forward(
        self, tokens: Tensor, references: Tensor, memory: Tensor, pyramid: Pyramid, pose_heads: nn.ModuleList
    ) -> list[DecoderState]:
        """Run all layers.

        Args:
            tokens: float [B,Q,J,C].
            references: float [B,Q,J,2], without gradient.
            memory: float [B,S,C].
            pyramid: geometry of the memory.
            pose_heads: one per layer, [...,C] -> [...,2].
        """
        states = []
        entering = references
        for layer, pose_head in zip(self.layers, pose_heads, strict=True):
            padded = references[:, :, 1:] * pyramid.ratios[:, 0, None, None]
            codes = self.position_head(encode_points(padded, self.width))
            codes = torch.cat((torch.zeros_like(codes[:, :, :1]), codes), 2)
            tokens = layer(tokens, codes, references, memory, pyramid)
            offsets = pose_head(tokens[:, :, 1:])
            states.append(DecoderState(tokens, entering, offsets))
            # Layers start from detached points, heads from connected ones ("look forward twice").
            entering = with_centre((inverse_sigmoid(references[:, :, 1:]) + offsets).sigmoid())
            references = entering.detach()
        return states
