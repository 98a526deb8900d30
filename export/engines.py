"""The engines of a network: what goes in, what comes out, and the function between, in one declarative place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from humar_edge.bundle import POSITIONAL_ENGINE, TEXT_ENGINE, VISION_ENGINE
from humar_edge.export.source import Source
from humar_edge.models.network import MEAN, STD
from humar_edge.models.tokenizer import encode_captions

POINTS = 12
DETECTION = ("score", "box", "keypoints", "mask")
PREFIX = "/network/"
"""What node names start with before the module path."""

CAPTIONS = (
    "the woman in the red coat on the left",
    "a man with a blue backpack who is looking at his phone",
    "child",
    "the tall person behind the table, wearing a hat and a striped shirt with long sleeves",
)
"""Prompts whose features the checks use: words as they come, short and long."""


@dataclass(frozen=True)
class Engine:
    """One graph.

    Attributes:
        name: text, vision or positional.
        file: Its file in the bundle.
        module: Takes `inputs` in order, returns `outputs` in order.
        samples: Real-valued inputs by name; the first set is the one that is traced.
        outputs: Names of the outputs.
    """

    name: str
    file: str
    module: nn.Module
    samples: list[dict[str, Tensor]]
    outputs: tuple[str, ...]


class TextGraph(nn.Module):
    """`input_ids`, `attention_mask` int64 [1,T] -> `text_tokens` float32 [1,T,D], `sentence` float32 [1,D]."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        found = self.network.encode_text(input_ids, attention_mask)
        # A light network gives a prompt (tokens, mask, sentence, heat), UniPHD tokens and sentence.
        return found[0], found[2] if len(found) > 2 else found[1]


class VisionGraph(nn.Module):
    """`image` uint8 [1,H,W,3], `text_tokens`, `text_mask`, `sentence` -> the four outputs of a detection."""

    def __init__(self, network: Any, normalise: bool) -> None:
        super().__init__()
        self.network = network
        self.normalise = normalise
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def picture(self, image: Tensor) -> Tensor:
        """The picture as the network takes it."""
        # TensorRT reads 8-bit inputs in a Cast only, so it comes first.
        image = image.float()
        if not self.normalise:
            return image
        return (image.permute(0, 3, 1, 2) - self.mean) / self.std

    def forward(self, image: Tensor, text_tokens: Tensor, text_mask: Tensor, sentence: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        find = self.network.vision if self.normalise else self.network
        return tuple(find(self.picture(image), text_tokens, text_mask, sentence))


class PositionalGraph(VisionGraph):
    """`image` uint8 [1,H,W,3], `points` float32 [1,12,2] in [0,1] of the canvas -> the outputs of a detection."""

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See the class."""
        find = self.network.positional if self.normalise else self.network.forward_points
        return tuple(find(self.picture(image), points))


def caption_samples(tokenizer: Any, captions: Sequence[str]) -> list[dict[str, Tensor]]:
    """Inputs of a text engine, one caption each."""
    ids, mask = encode_captions(tokenizer, captions)
    return [{"input_ids": ids[k : k + 1], "attention_mask": mask[k : k + 1]} for k in range(len(ids))]


def text_engine(source: Source) -> Engine:
    """The text engine, with captions as samples."""
    samples = caption_samples(source.encoder.tokenizer, CAPTIONS)
    return Engine("text", TEXT_ENGINE, TextGraph(source.network).eval(), samples, ("text_tokens", "sentence"))


def vision_engine(source: Source) -> Engine:
    """The vision engine, with random scenes and encoded captions as samples."""
    samples = []
    for index, sample in enumerate(text_engine(source).samples):
        with torch.no_grad():
            tokens, sentence = TextGraph(source.network)(*sample.values())
        prompt = {"text_tokens": tokens, "text_mask": sample["attention_mask"], "sentence": sentence}
        samples.append({"image": scene(source.input_size, index), **prompt})
    return Engine("vision", VISION_ENGINE, VisionGraph(source.network, source.original).eval(), samples, DETECTION)


def positional_engine(source: Source) -> Engine:
    """The positional engine, with random scenes and strokes as samples."""
    generator = torch.Generator().manual_seed(1)
    samples = []
    for index in range(len(CAPTIONS)):
        start, length = (torch.rand(2, generator=generator) for _ in range(2))
        stroke = (start + (length - 0.5) * 0.3 * torch.linspace(0, 1, POINTS)[:, None]).clamp(0, 1)
        samples.append({"image": scene(source.input_size, index), "points": stroke[None]})
    graph = PositionalGraph(source.network, source.original).eval()
    return Engine("positional", POSITIONAL_ENGINE, graph, samples, DETECTION)


ENGINES: dict[str, Callable[[Source], Engine]] = {
    "text": text_engine,
    "vision": vision_engine,
    "positional": positional_engine,
}


def engines(source: Source, prompts: Sequence[str] = ("text",)) -> list[Engine]:
    """The engines that a set of prompt kinds (`text`, `point`) needs; text and vision always."""
    names = ["text", "vision", *(["positional"] if "point" in prompts else [])]
    return [ENGINES[name](source) for name in names]


def scene(size: tuple[int, int], seed: int) -> Tensor:
    """A picture of smooth blobs and some noise, uint8 [1,H,W,3]: like a photo, its neighbours are related."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        nn.functional.interpolate(
            torch.randn(1, 3, cells, cells, generator=generator), size=size, mode="bicubic", align_corners=False
        )
        for cells in (3, 9, 30)
    ]
    total = 118 + 45 * layers[0] + 30 * layers[1] + 15 * layers[2] + 6 * torch.randn(1, 3, *size, generator=generator)
    return total.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
