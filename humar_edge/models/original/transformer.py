"""Everything of UniPHD between the encoders and the outputs: projection, fusion, encoder, decoder, heads, masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from humar_edge.models.original.decoder import Decoder, DecoderState
from humar_edge.models.original.deformable import DeformableAttention
from humar_edge.models.original.encoder import Encoder, Pyramid
from humar_edge.models.original.encodings import encode_grid
from humar_edge.models.original.fusion import Fusion
from humar_edge.models.original.heads import PRIOR_BIAS, Heads
from humar_edge.models.original.layers import take
from humar_edge.models.original.masks import MaskHead
from humar_edge.models.original.prompts import PromptBranches, PromptFeatures
from humar_edge.models.original.proposals import ProposalHead, Proposals

KEYPOINTS = 17
CLASSES = 2
PERSON = 1
"""Index of the person among the classes; class 0 is never a target."""
LEVELS = 4


@dataclass(frozen=True)
class Decoded:
    """Intermediate results that the heads and the mask branch need.

    Attributes:
        fused: float [B,C,h,w] per level, the maps entering the encoder.
        memory: float [B,S,C].
        pyramid: geometry of the memory.
        proposals: the selected cells, connected to the gradient.
        states: one per decoder layer.
    """

    fused: list[Tensor]
    memory: Tensor
    pyramid: Pyramid
    proposals: Proposals
    states: list[DecoderState]


class UniPHDTransformer(nn.Module):
    """UniPHD without its backbone and text encoder.

    Args:
        channels: channels of the backbone's maps at strides 4, 8, 16 and 32.
        text_dim: width of the text encoder.
        queries: people proposed per image.
        width: channels of all tokens.
        hidden: width of the feed-forward layers.
        encoder_layers: depth of the encoder.
        decoder_layers: depth of the decoder.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        text_dim: int,
        queries: int = 20,
        width: int = 256,
        hidden: int = 2048,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
    ) -> None:
        super().__init__()
        self.width = width
        stride4, stride8, stride16, stride32 = channels
        self.prompts = PromptBranches(text_dim, stride16, width)
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(source, width, kernel, stride, kernel // 2), nn.GroupNorm(32, width))
            for source, kernel, stride in ((stride8, 1, 1), (stride16, 1, 1), (stride32, 1, 1), (stride32, 3, 2))
        )
        self.fusion = Fusion(width)
        self.level_embed = nn.Parameter(torch.empty(LEVELS, width))
        self.encoder = Encoder(width, LEVELS, hidden, encoder_layers)
        self.proposals = ProposalHead(width, CLASSES, KEYPOINTS, queries)
        self.keypoint_embedding = nn.Embedding(KEYPOINTS, width)
        self.decoder = Decoder(width, LEVELS, hidden, KEYPOINTS + 1, decoder_layers)
        self.heads = Heads(width, CLASSES, decoder_layers)
        self.masks = MaskHead(width, stride4, stride8)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier-uniform matrices in the transformer proper; adjacency and last layers of regressions at zero."""
        for part in (self.encoder, self.decoder, self.proposals, self.keypoint_embedding):
            for name, parameter in part.named_parameters():
                if parameter.dim() > 1 and not name.endswith("adjacent_matrix"):
                    nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
        nn.init.normal_(self.level_embed)
        nn.init.constant_(self.proposals.classes.bias, PRIOR_BIAS)
        self.proposals.keypoints.zero_last()
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)  # type: ignore[index]
            nn.init.zeros_(projection[0].bias)  # type: ignore[index]
        for layer in self.masks.controller.layers:
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def decode(self, maps: list[Tensor], padding: Tensor | None, prompt: PromptFeatures) -> Decoded:
        """From backbone maps and a prompt to the states of the decoder.

        Args:
            maps: float [B,c,h,w] at strides 4, 8, 16 and 32.
            padding: bool [B,H,W] of the canvas, True = padding; None when nothing is padded.
            prompt: output of one of the branches of `prompts`.
        """
        sources = (maps[1], maps[2], maps[3], maps[3])
        fused = [
            self.fusion(projection(source), prompt) for projection, source in zip(self.input_proj, sources, strict=True)
        ]
        shapes = tuple((int(level.shape[2]), int(level.shape[3])) for level in fused)
        pyramid = Pyramid.build(int(maps[0].shape[0]), shapes, padding, maps[0])
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in fused], 1)
        positions = [
            encode_grid(mask, self.width).flatten(1, 2) + embedding
            for mask, embedding in zip(pyramid.paddings, self.level_embed, strict=True)
        ]
        memory = self.encoder(tokens, torch.cat(positions, 1), pyramid)

        proposals = self.proposals(memory, pyramid)
        joints = proposals.tokens.detach()[:, :, None] + self.keypoint_embedding.weight
        person = prompt.sentence[:, None, None].expand(-1, joints.shape[1], -1, -1)
        queries = torch.cat((person, joints), 2)
        references = proposals.references().detach()
        states = self.decoder(queries, references, memory, pyramid, self.heads.poses)
        return Decoded(fused, memory, pyramid, proposals, states)

    def decode_masks(self, decoded: Decoded, maps: list[Tensor], sizes: Tensor, chosen: Tensor) -> Tensor:
        """Masks of chosen queries before the pixel shuffle, float [B,n,16,H/4,W/4].

        Args:
            decoded: output of `decode`.
            maps: backbone maps.
            sizes: float [B,2], (height, width) of the unpadded images in pixels.
            chosen: int64 [B,n], query indices.
        """
        state = decoded.states[-1]
        tokens = take(state.tokens[:, :, 0], chosen)
        # The centre that enters the last layer, in pixels.
        centres = take(state.references[:, :, 0], chosen) * sizes.flip(-1)[:, None]
        levels = decoded.pyramid.split(decoded.memory)[:3]
        return self.masks(tokens, centres, levels, maps[0], maps[1])
