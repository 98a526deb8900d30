"""UniPHD: one prompt picks one person; out come score, box, 17 keypoints and mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from humar_edge.models.original.layers import take
from humar_edge.models.original.masks import to_pixels, to_stride4
from humar_edge.models.original.prompts import PointPrompt, PromptFeatures, TextPrompt
from humar_edge.models.original.transformer import PERSON, UniPHDTransformer

Outputs = dict[str, Any]


class Referred(NamedTuple):
    """The one referred person of each image.

    Attributes:
        score: float [B], probability in [0, 1].
        box: float [B,4], cxcywh in [0, 1] of the canvas.
        keypoints: float [B,17,3], x and y in [0, 1] of the canvas, probability of being visible.
        mask: float [B,H/4,W/4] logits, each the mean of its 4×4 pixels; [B,H,W] in full resolution.
    """

    score: Tensor
    box: Tensor
    keypoints: Tensor
    mask: Tensor


def best_query(outputs: Outputs) -> Tensor:
    """Query with the highest person score, int64 [B,1]: the default choice of masks to decode."""
    return outputs["logits"][..., PERSON].argmax(1, keepdim=True)


class UniPHD(nn.Module):
    """The network with its encoders.

    Args:
        backbone: `forward(float [B,3,H,W]) -> four maps` at strides 4 to 32, with `.channels`.
        text_encoder: `forward(ids, mask) -> (words [B,T,dim], sentence [B,dim])`, with `.dim`.
        queries: people proposed per image; any number fits the same weights.
        **overrides: sizes of `UniPHDTransformer` (`encoder_layers`, `hidden`...).
    """

    def __init__(self, backbone: nn.Module, text_encoder: nn.Module, queries: int = 20, **overrides: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.text_encoder = text_encoder
        channels: Any = backbone.channels
        text_dim: Any = text_encoder.dim
        self.transformer = UniPHDTransformer(tuple(channels), text_dim, queries, **overrides)

    def forward(
        self,
        images: Tensor,
        padding: Tensor | None,
        sizes: Tensor,
        prompt: TextPrompt | PointPrompt,
        select: Callable[[Outputs], Tensor] = best_query,
    ) -> Outputs:
        """All predictions of a batch, as training needs them; see `pad_batch` for the first three arguments.

        Args:
            images: float [B,3,H,W], ImageNet-normalised, H and W multiples of 16.
            padding: bool [B,H,W], True = padding; None when no image is padded.
            sizes: int64 [B,2], (height, width) before padding.
            prompt: captions or points for each image.
            select: maps the outputs without masks to the query indices int64 [B,n] whose masks are decoded, for
                instance the matched ones. Inside of forward, so that data-parallel wrappers see every parameter.

        Returns:
            `logits` [B,Q,2] (index 1 = person), `keypoints` [B,Q,17,2], `visibility` [B,Q,17] logits, `boxes`
            [B,Q,4], all relative to the unpadded images; `auxiliary`: the same of the earlier layers; `proposals`:
            `logits` and `keypoints` of the selected cells; `mask_queries` [B,n] and their `masks`, logits [B,n,H,W] of
            the canvas.
        """
        maps = self.backbone(images)
        decoded = self.transformer.decode(maps, padding, self._prompt(maps, padding, prompt, images))
        layers = [self.transformer.heads(index, state) for index, state in enumerate(decoded.states)]
        outputs: Outputs = dict(layers[-1])
        outputs["auxiliary"] = layers[:-1]
        # Connected to the graph, so that a loss on them trains the selection.
        outputs["proposals"] = {"logits": decoded.proposals.logits, "keypoints": decoded.proposals.keypoints}
        outputs["mask_queries"] = select(outputs)
        z = self.transformer.decode_masks(decoded, maps, sizes.to(images), outputs["mask_queries"])
        outputs["masks"] = to_pixels(z)[..., : images.shape[2], : images.shape[3]]
        return outputs

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text engine: int64 [B,T] twice -> text tokens float [B,T,C] and sentence float [B,C], projected."""
        words, sentence = self.text_encoder(input_ids, attention_mask)
        return self.transformer.prompts.project_text(words, sentence)

    def vision(
        self, image: Tensor, text_tokens: Tensor, text_mask: Tensor, sentence: Tensor, full_resolution: bool = False
    ) -> Referred:
        """Vision engine: the person that the encoded text means.

        Args:
            image: float [B,3,H,W], ImageNet-normalised; the whole canvas counts as picture.
            text_tokens: float [B,T,C] from `encode_text`.
            text_mask: int64 [B,T], 1 = a real token.
            sentence: float [B,C] from `encode_text`.
            full_resolution: give the mask at every pixel instead of at stride 4.
        """
        features = self.transformer.prompts.from_text(text_tokens, text_mask, sentence)
        return self.refer(image, self.backbone(image), features, full_resolution)

    def positional(self, image: Tensor, points: Tensor, full_resolution: bool = False) -> Referred:
        """Positional engine: the person under a scribble, or under a click repeated to fill the points.

        Args:
            image: float [B,3,H,W], ImageNet-normalised; the whole canvas counts as picture.
            points: float [B,N,2], (x, y) in [0, 1] of the canvas.
            full_resolution: give the mask at every pixel instead of at stride 4.
        """
        maps = self.backbone(image)
        # Whole numbers rather than `zeros_like`, so that the position code is a constant of the exported graph.
        batch, _, height, width = (int(size) for size in maps[2].shape)
        unpadded = torch.zeros(batch, height, width, dtype=torch.bool, device=image.device)
        features = self.transformer.prompts.from_points(maps[2], unpadded, points)
        return self.refer(image, maps, features, full_resolution)

    def _prompt(
        self, maps: list[Tensor], padding: Tensor | None, prompt: TextPrompt | PointPrompt, images: Tensor
    ) -> PromptFeatures:
        branches = self.transformer.prompts
        if isinstance(prompt, TextPrompt):
            tokens, sentence = self.encode_text(prompt.input_ids, prompt.attention_mask)
            return branches.from_text(tokens, prompt.attention_mask, sentence)
        if padding is None:
            padding = torch.zeros_like(images[:, 0], dtype=torch.bool)
        level = nn.functional.interpolate(padding[:, None].float(), maps[2].shape[2:], mode="nearest")[:, 0] > 0.5
        # Fractions of the padded canvas, not of the image: trained weights depend on it.
        canvas = torch.tensor([images.shape[3], images.shape[2]], dtype=torch.float32, device=images.device)
        return branches.from_points(maps[2], level, prompt.points.to(images) / canvas)

    def refer(
        self, image: Tensor, maps: list[Tensor], prompt: PromptFeatures, full_resolution: bool = False
    ) -> Referred:
        """The person that an encoded prompt means: the best query of each row.

        Args:
            image: float [B,3,H,W]; only its height and width count, all of it is picture.
            maps: the backbone's, with as many rows as the prompt.
            prompt: from one of the branches of `transformer.prompts`.
            full_resolution: give the mask at every pixel instead of at stride 4.
        """
        decoded = self.transformer.decode(maps, None, prompt)
        outputs = self.transformer.heads(len(decoded.states) - 1, decoded.states[-1])
        best = best_query(outputs)
        height, width = int(image.shape[2]), int(image.shape[3])
        sizes = torch.tensor([[height, width]], dtype=torch.float32, device=image.device)
        z = self.transformer.decode_masks(decoded, maps, sizes, best)[:, 0]
        mask = to_pixels(z)[..., :height, :width] if full_resolution else to_stride4(z)
        points = torch.cat((outputs["keypoints"], outputs["visibility"].sigmoid()[..., None]), -1)
        scores = outputs["logits"][..., PERSON].sigmoid()
        score, box, keypoints = (take(values, best)[:, 0] for values in (scores, outputs["boxes"], points))
        return Referred(score, box, keypoints, mask)
