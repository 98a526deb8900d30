"""A data set, a network and a trainer that take a second: two coloured people per picture, a third colour absent."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from refhuman_factory import annotation, image, nobody, write_split
from torch import nn

from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.models.network import HumarNet
from humar_edge.models.original.uniphd import UniPHD
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary
from humar_edge.models.transformers import build_transformer
from humar_edge.training.loop import Trainer
from humar_edge.training.machine import open_accelerator
from humar_edge.training.recipes import Recipe
from humar_edge.training.samples import SampleMaker, SampleOptions, group_by_image
from humar_edge.training.text_cache import TextCache
from humar_edge.training.uniphd_step import ReferringUniPHD

COLOURS = {"red": (40, 40, 220), "green": (40, 200, 60), "blue": (220, 70, 40)}
CHANNELS = (8, 8, 16, 16)
SIZE = 64


def write_people(root: Path, pictures: int = 6, splits: tuple[str, ...] = ("train", "val")) -> Path:
    """Write a data set of pictures 128x96 with two people and three captions each."""
    rng = np.random.default_rng(0)
    for split in splits:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        frames = {}
        for picture in range(pictures):
            name, frame = f"{split}{picture}.png", np.full((96, 128, 3), 150, np.uint8)
            colours = [str(colour) for colour in rng.permutation(list(COLOURS))]
            for place, colour in enumerate(colours):
                number = len(images) + 1
                left = 8 + 60 * place
                images.append(image(number, f"person in {colour} clothes", name, 128, 96))
                if place == 2:
                    annotations.append(nobody(number))
                    continue
                frame[10:85, left : left + 30] = COLOURS[colour]
                annotations.append(annotation(number, (left, 10, left + 30, 85)))
            frames[name] = frame
        write_split(root, images, annotations, frames, split)
    return root


class TinyBackbone(nn.Module):
    """Four strided convolutions."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *CHANNELS[:-1])
        strides = (4, 2, 2, 2)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 2 * s - 1, s, s - 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, s in zip(inputs, CHANNELS, strides, strict=True)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found


def tiny_encoder() -> TiteEncoder:
    """A small vocabulary with random features."""
    return TiteEncoder(build_tite_vocabulary([f"person in {colour} clothes" for colour in COLOURS]))


def tiny_network(encoder: TiteEncoder, seed: int = 0, **overrides: Any) -> HumarNet:
    """A network of the family fully_conv_optim with the narrowest maps; its text encoder stays outside."""
    torch.manual_seed(seed)
    sizes = {"maps": 16, "fine": 8, "width": 16} | overrides
    return HumarNet(TinyBackbone(), None, build_transformer("fully_conv_optim", CHANNELS, encoder.dim, **sizes))  # type: ignore[arg-type]


def tiny_original(encoder: TiteEncoder | None = None, seed: int = 0) -> ReferringUniPHD:
    """An original network with four queries and narrow layers, with its text encoder."""
    torch.manual_seed(seed)
    encoder = encoder or tiny_encoder()
    return ReferringUniPHD(UniPHD(TinyBackbone(), encoder, 4, width=64, hidden=32, encoder_layers=1, decoder_layers=2))


def tiny_trainer(data: Path, output: Path, recipe: Recipe, *, seed: int = 0, **overrides: Any) -> Trainer:
    """A trainer over the training split; `seed` is that of the network, `overrides` go to it."""
    torch.manual_seed(0)
    encoder = tiny_encoder()
    network = tiny_network(encoder, seed, **overrides)
    accelerator = open_accelerator(recipe.precision, "cpu")
    groups = group_by_image(RefHumanIndex.load(data, "train").entries)
    maker = SampleMaker(groups, SampleOptions(size=SIZE, prompts=3, positional=0.4))
    return Trainer(network, TextCache(encoder), maker, recipe, output, {"combo": "tiny"}, accelerator=accelerator)


def main(data: str, output: str, batch: int, steps: int) -> None:
    """Train and write `losses.json`; started once or by a launcher of several processes."""
    torch.set_num_threads(1)
    recipe = replace(Recipe(), batch=batch, steps=steps, warmup=2, decoded=1000, fixed_norms=True, save_every=10_000)
    trainer = tiny_trainer(Path(data), Path(output), recipe)
    losses: list[dict[str, float]] = []
    trainer.run(lambda _, parts: losses.append({k: v for k, v in parts.items() if k != "data_wait"}))
    if trainer.is_main:
        record = {"processes": trainer.accelerator.num_processes, "losses": losses}
        (Path(output) / "losses.json").write_text(json.dumps(record))


def imwrite_garbage(path: Path) -> None:
    """Turn a picture into a file that is none."""
    assert cv2.imread(str(path)) is not None
    path.write_bytes(b"not a picture")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
