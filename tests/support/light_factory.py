"""Small networks of the light families, and a data set that they can learn by heart."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from refhuman_factory import annotation, image, nobody, write_split
from torch import Tensor, nn

from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.models.backbones import build_backbone
from humar_edge.models.network import HumarNet
from humar_edge.models.text import build_text_encoder
from humar_edge.models.transformers import build_transformer
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image

FAMILIES = ("fully_conv_optim", "efficient", "fully_conv")
SMALL: dict[str, dict[str, Any]] = {
    "fully_conv_optim": {"maps": 32, "fine": 16, "width": 48},
    "efficient": {"maps": 32, "fine": 16, "width": 48, "depth": 1, "hidden": 32, "layers": 1},
    "fully_conv": {"maps": 32, "fine": 16, "width": 48, "depth": 1, "hidden": 32, "layers": 1},
}
TEXT_DIM = 24
COLOURS = {"red": (40, 40, 220), "green": (40, 200, 40), "blue": (220, 60, 30)}
"""BGR."""


def network(family: str, *, small: bool = True, text: bool = False, seed: int = 0) -> HumarNet:
    """SegFormer-B0 and a light transformer with random weights; with `text`, the untrained encoder `tite` too."""
    torch.manual_seed(seed)
    backbone = build_backbone("segformer_b0")
    encoder = build_text_encoder("tite", untrained=True) if text else None
    dim = TEXT_DIM if encoder is None else encoder.dim
    channels: Any = backbone.channels
    return HumarNet(backbone, encoder, build_transformer(family, channels, dim, **(SMALL[family] if small else {})))  # type: ignore[arg-type]


def wake(module: nn.Module, spread: float = 0.05) -> None:
    """Give random values to parameters that start at zero: what they do is invisible until then."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def pictures(count: int, height: int, width: int) -> Tensor:
    """uint8 [count,height,width,3] of coarse random blobs."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 5, 7, generator=generator)
    full = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (full * 255).byte().permute(0, 2, 3, 1).contiguous()


class Texts:
    """Captions to word features that depend on nothing but the words; see `humar_edge.training.step.Texts`."""

    def word(self, word: str) -> Tensor:
        """float32 [TEXT_DIM]."""
        return torch.randn(TEXT_DIM, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Words [N,T,d], mask [N,T], sentences [N,d]."""
        rows = [torch.stack([self.word(word) for word in caption.split()]) for caption in captions]
        words = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = (torch.arange(words.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]).long()
        return words, mask, torch.stack([row.mean(0) for row in rows])


def write_colours(root: Path, size: int = 64, pictures: int = 2) -> Path:
    """A train split: in each picture two people in two colours side by side; the third colour's caption fits nobody."""
    entries, annotations, frames, number = [], [], {}, 1
    names = list(COLOURS)
    for index in range(pictures):
        name = f"{index}.png"
        frame = np.full((size, size, 3), 120 + 10 * index, np.uint8)
        boxes = [(4, 8 + index % 9, 26, 56), (36, 4, 58, 52 - index % 7)]
        worn = [names[(index + side) % 3] for side in range(2)]
        for box, colour in zip(boxes, worn, strict=True):
            x1, y1, x2, y2 = box
            frame[y1:y2, x1:x2] = COLOURS[colour]
            entries.append(image(number, f"the {colour} person", name, size, size))
            annotations.append(annotation(number, box))
            number += 1
        entries.append(image(number, f"the {names[(index + 2) % 3]} person", name, size, size))
        annotations.append(nobody(number))
        number += 1
        frames[name] = frame
    return write_split(root, entries, annotations, frames, split="train")


def colour_maker(root: Path, size: int = 64, pictures: int = 2, **options: Any) -> SampleMaker:
    """Samples of `write_colours`; without augmentation unless asked for."""
    index = RefHumanIndex.load(write_colours(root, size, pictures), "train")
    choice = {"size": size, "augment": False, "negatives": 0.5, "positional": 0.0} | options
    return SampleMaker(group_by_image(index.entries), SampleOptions(**choice))
