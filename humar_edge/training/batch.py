"""Samples to tensors: pictures once, prompts flattened, each knowing its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from humar_edge.training.samples import Sample


@dataclass
class Batch:
    """B pictures with N prompts in all; P of the prompts are present.

    Attributes:
        image: uint8 [B,S,S,3] RGB.
        owner: int64 [N] index of each prompt's picture.
        captions: N texts.
        pointed: int64 [M] indices of prompts given as points.
        points: float32 [M,12,2] in units of the canvas.
        present: bool [N].
        box: float32 [N,4] xyxy in units of the canvas.
        keypoints: float32 [N,17,3].
        mask: uint8 [N,S/2,S/2].
        has_mask: bool [N].
        attributes: int8 [N,A] 1 true of the person, 0 false, -1 unknown; A is 0 where the data say nothing.
        noise: float32 [N,`samples.DRAWS`] uniform numbers for the losses; None: they draw their own.
    """

    image: Tensor
    owner: Tensor
    captions: list[str]
    pointed: Tensor
    points: Tensor
    present: Tensor
    box: Tensor
    keypoints: Tensor
    mask: Tensor
    has_mask: Tensor
    attributes: Tensor
    noise: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        return Batch(**moved)  # type: ignore[arg-type]


def collate(samples: list[Sample]) -> Batch:
    """Join samples; samples without prompts keep their picture out of the batch."""
    samples = [sample for sample in samples if sample.targets]
    targets = [target for sample in samples for target in sample.targets]
    pointed = [i for i, target in enumerate(targets) if target.points is not None]
    points = [target.points for target in targets if target.points is not None]
    return Batch(
        image=torch.from_numpy(np.stack([sample.image for sample in samples])),
        owner=torch.tensor([i for i, sample in enumerate(samples) for _ in sample.targets]),
        captions=[target.caption for target in targets],
        pointed=torch.tensor(pointed, dtype=torch.int64),
        points=torch.from_numpy(np.stack(points) if points else np.zeros((0, 12, 2), np.float32)),
        present=torch.tensor([not target.absent for target in targets]),
        box=torch.from_numpy(np.stack([target.box for target in targets])),
        keypoints=torch.from_numpy(np.stack([target.keypoints for target in targets])),
        mask=torch.from_numpy(np.stack([target.mask for target in targets])),
        has_mask=torch.tensor([target.has_mask for target in targets]),
        attributes=_attributes([target.attributes for target in targets]),
        noise=_noise(samples),
    )


def _attributes(known: list[str]) -> Tensor:
    length = max(map(len, known), default=0)
    padded = "".join(text.ljust(length, "?") for text in known).encode()
    codes = np.frombuffer(padded, np.uint8).reshape(len(known), length)
    return torch.from_numpy(np.where(codes == ord("?"), -1, codes - ord("0")).astype(np.int8))


def _noise(samples: list[Sample]) -> Tensor | None:
    drawn = [sample.noise for sample in samples]
    if any(noise is None for noise in drawn):
        return None
    return torch.from_numpy(np.concatenate(drawn))  # type: ignore[arg-type]
