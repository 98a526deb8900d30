"""What the light families share.

Once per picture: neck, proposals, and what can be known of the people proposed. For every prompt: the choice among
them, then features fused with the prompt, in which the chosen person alone is decoded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from humar_edge.models.blocks import cells_last
from humar_edge.models.colour import ColourBins
from humar_edge.models.heads.instance import Instance, InstanceHead
from humar_edge.models.heads.people import GRID, People, PeopleEncoder, grid_window
from humar_edge.models.heads.proposals import ProposalHead, Proposals, candidates
from humar_edge.models.heads.resample import crop_many, paste
from humar_edge.models.heads.selection import HEADS, LAYERS, Selection, SelectionHead, most_likely, pick, presence_logit
from humar_edge.models.prompting import PointProjection, Prompt, TextProjection

OUTSIDE_MASK = -10.0
"""Mask logit outside the window of the chosen person."""
PERSON = 128
"""Width of the candidates' tokens, in all families."""


class Pyramid(NamedTuple):
    """Prompt-independent features: strides 4 (narrow), 8, 16 and 32 (one width)."""

    p2: Tensor
    p3: Tensor
    p4: Tensor
    p5: Tensor

    def rows(self, index: Tensor) -> Pyramid:
        """The pyramid of image `index[n]` for each prompt n."""
        return Pyramid(*(level.index_select(0, index) for level in self))


class Scene(NamedTuple):
    """All that does not depend on the prompt: B pictures.

    Attributes:
        pyramid: Features.
        proposals: Objectness and boxes of all cells; training alone looks at them.
        people: The candidates.
    """

    pyramid: Pyramid
    proposals: Proposals
    people: People


class Detection(NamedTuple):
    """The contract of the vision engine, batched over N prompts (see `docs/contracts.md`).

    Attributes:
        score: float32 [N] probability that the person is present.
        box: float32 [N,4] cxcywh in units of the canvas.
        keypoints: float32 [N,17,3] x, y in units of the canvas and visibility probability.
        mask: float32 [N,H/4,W/4] logits.
    """

    score: Tensor
    box: Tensor
    keypoints: Tensor
    mask: Tensor


class LightTransformer(nn.Module):
    """Base of the light families: they differ in `neck` (features -> Pyramid) and `fusion` (Pyramid, Prompt -> map).

    Args:
        neck: Maps the four backbone features to a `Pyramid` of `channels` (and `fine_channels` at stride 4).
        fusion: Maps a pyramid and a prompt to conditioned stride-8 features [N,channels,H/8,W/8].
        channels: Width of the feature maps.
        fine_channels: Width of the stride-4 map.
        width: Width of word, sentence and instance tokens.
        text_dim: Width of the text encoder.
        hidden: Width of the instance window.
        layers: Graph layers.
    """

    def __init__(
        self,
        neck: nn.Module,
        fusion: nn.Module,
        *,
        channels: int,
        fine_channels: int,
        width: int,
        text_dim: int,
        hidden: int = 64,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.text = TextProjection(text_dim, width, dropout)
        self.points = PointProjection(channels, width)
        self.neck = neck
        self.colour = ColourBins(channels)
        self.proposals = ProposalHead(channels)
        self.people = PeopleEncoder(channels, PERSON, LAYERS * HEADS)
        self.selection = SelectionHead(width, PERSON)
        self.fusion = fusion
        self.embed = nn.Conv2d(channels, width, 1)
        self.instance = InstanceHead(channels, fine_channels, width, hidden, layers)
        self.score_scale: Tensor
        self.score_shift: Tensor
        self.register_buffer("score_scale", torch.ones(()))
        self.register_buffer("score_shift", torch.zeros(()))

    def pyramid(self, image: Tensor, features: list[Tensor]) -> Pyramid:
        """Features of normalised images [B,3,H,W] and the backbone's four maps of them."""
        pyramid: Pyramid = self.neck(features)
        return pyramid._replace(p3=pyramid.p3 + self.colour(image))

    def scene(self, pyramid: Pyramid) -> Scene:
        """Proposals and people."""
        x = pyramid.p3
        proposals = self.proposals(x)
        people = self.people(x, candidates(proposals, (x.shape[-2], x.shape[-1])))
        return Scene(pyramid, proposals, people)

    def text_prompt(self, words: Tensor, mask: Tensor, sentence: Tensor) -> Prompt:
        """Project word features [N,T,text_dim], mask [N,T] and sentence features [N,text_dim]."""
        tokens, whole = self.text(words, sentence)
        return Prompt(tokens, mask, whole)

    def point_prompt(self, pyramid: Pyramid, points: Tensor) -> Prompt:
        """Read a prompt off the pyramid at points float32 [N,12,2] in units of the canvas."""
        return self.points(pyramid.p3, pyramid.p4, points)

    def select(self, people: People, prompt: Prompt) -> Selection:
        """Choose among people, one prompt per row."""
        heat = None
        if prompt.heat is not None:
            heat = crop_many(prompt.heat, *grid_window(people.boxes), GRID).flatten(2, 3)
        return self.selection(people, prompt, heat)

    def decode(self, pyramid: Pyramid, prompt: Prompt, cell: Tensor, box: Tensor) -> Instance:
        """Keypoints and mask of the people at `cell` [N], looked for in `box` [N,4]; one prompt per row."""
        x = self.fusion(pyramid, prompt)
        embedding = self.embed(pick(cells_last(x), cell)[..., None, None]).flatten(1)
        return self.instance(x, pyramid.p2, embedding, box)

    def forward(self, pyramid: Pyramid, people: People, prompt: Prompt) -> Detection:
        """Inference for one prompt per row of pyramid and people."""
        selection = self.select(people, prompt)
        best = most_likely(selection)
        cell = selection.cells.gather(1, best[:, None])[:, 0]
        found = self.decode(pyramid, prompt, cell, pick(selection.boxes, best))
        score = presence_logit(selection.logits, self.score_scale, self.score_shift).sigmoid()
        corners = found.box.clamp(0.0, 1.0)
        box = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
        keypoints = torch.cat([found.keypoints, found.visibility.sigmoid()[..., None]], 2)
        shape = (pyramid.p2.shape[-2], pyramid.p2.shape[-1])
        mask = paste(found.mask, found.corner, found.size, shape, OUTSIDE_MASK)
        return Detection(score, box, keypoints, mask)
