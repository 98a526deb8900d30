"""The whole network of a light family: backbone, text encoder, transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.light import PERSON, Detection, LightTransformer, Pyramid, Scene

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB values in [0,1]."""


class HumarNet(nn.Module):
    """A backbone, a text encoder and a light transformer behind one interface.

    The text encoder may be None where word features come from elsewhere (cached, in training). `attributes` is a head
    that only training uses: it names what the candidates of a picture wear.
    """

    def __init__(
        self, backbone: nn.Module, text_encoder: nn.Module | None, transformer: LightTransformer, attributes: int = 0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.text_encoder = text_encoder
        self.transformer = transformer
        self.attributes = nn.Linear(PERSON, attributes) if attributes else None
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    def pyramid(self, image: Tensor) -> Pyramid:
        """Prompt-independent features of uint8 RGB images [B,H,W,3]; H and W divisible by 32."""
        x = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        return self.transformer.pyramid(x, self.backbone(x))

    def scene(self, image: Tensor) -> Scene:
        """Features and people of uint8 RGB images [B,H,W,3]."""
        found: Scene = self.transformer.scene(self.pyramid(image))
        return found

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Prompt:
        """Token ids and mask, int64 [N,T], to a prompt (projections included)."""
        if self.text_encoder is None:
            raise RuntimeError("this network was built without a text encoder")
        words, sentence = self.text_encoder(input_ids, attention_mask)
        return self.transformer.text_prompt(words, attention_mask, sentence)

    def forward(self, image: Tensor, tokens: Tensor, mask: Tensor, sentence: Tensor) -> Detection:
        """The vision engine: see `Detection` and `Prompt` for shapes."""
        scene = self.scene(image)
        found: Detection = self.transformer(scene.pyramid, scene.people, Prompt(tokens, mask, sentence))
        return found

    def forward_points(self, image: Tensor, points: Tensor) -> Detection:
        """The positional engine: points float32 [N,12,2] in units of the canvas."""
        scene = self.scene(image)
        prompt = self.transformer.point_prompt(scene.pyramid, points)
        found: Detection = self.transformer(scene.pyramid, scene.people, prompt)
        return found
