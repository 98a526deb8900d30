"""Pictures of different sizes on one canvas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from humar_edge.errors import DataError

CANVAS_MULTIPLE = 16


def pad_batch(images: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Put pictures into the top-left corners of a common canvas.

    The canvas is the largest height and width, each rounded up to a multiple of 16; the rest is zero, which after
    normalisation is the mean colour.

    Args:
        images: float [3,h,w] each, ImageNet-normalised.

    Returns:
        Canvas float [B,3,H,W], padding bool [B,H,W] (True = padding), sizes int64 [B,2] (height, width).

    Raises:
        DataError: there is no picture.
    """
    if not images:
        raise DataError("a batch needs at least one picture")
    sizes = torch.tensor([[image.shape[1], image.shape[2]] for image in images])
    height, width = (-(-int(size) // CANVAS_MULTIPLE) * CANVAS_MULTIPLE for size in sizes.amax(0))
    canvas = images[0].new_zeros(len(images), 3, height, width)
    padding = torch.ones(len(images), height, width, dtype=torch.bool, device=canvas.device)
    for index, image in enumerate(images):
        canvas[index, :, : image.shape[1], : image.shape[2]] = image
        padding[index, : image.shape[1], : image.shape[2]] = False
    return canvas, padding, sizes.to(canvas.device)
