"""What every backbone shares: the check of the input and the published normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from humar_edge.errors import ConfigError

STRIDES = (4, 8, 16, 32)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_size(images: Tensor, name: str) -> None:
    """Refuse inputs whose pyramid would not have strides of exactly 4, 8, 16 and 32.

    Args:
        images: [B, 3, H, W].
        name: The backbone, for the message.

    Raises:
        ConfigError: H or W is not divisible by 32.
    """
    height, width = int(images.shape[-2]), int(images.shape[-1])
    if height % 32 or width % 32:
        near = "x".join(str(max(32, round(side / 32) * 32)) for side in (height, width))
        raise ConfigError(f"backbone '{name}': input {height}x{width} is not divisible by 32; use for example {near}")


def fold_normalisation(
    state: dict[str, Tensor], conv: str, norm: str, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Make weights trained with another input normalisation accept ImageNet-normalised images, in place.

    The first convolution (without bias) and the BatchNorm after it absorb the difference: with
    y = (pixel - mean) / std = a x + b, conv(y) = conv_a(x) + sum(w b). Exact except at the zero-padded border.

    Args:
        state: State dict holding `<conv>.weight` [C, 3, k, k] and `<norm>.running_mean` [C].
        conv: Name of the first convolution.
        norm: Name of its BatchNorm.
        mean: Mean of the pixels, in [0, 1], that the weights were trained with.
        std: Their standard deviation.
    """
    weight = state[f"{conv}.weight"]
    ours_mean, ours_std, mean_, std_ = (weight.new_tensor(v) for v in (IMAGENET_MEAN, IMAGENET_STD, mean, std))
    shift = (weight * ((ours_mean - mean_) / std_).view(1, 3, 1, 1)).sum((1, 2, 3))
    state[f"{norm}.running_mean"] = state[f"{norm}.running_mean"] - shift
    state[f"{conv}.weight"] = weight * (ours_std / std_).view(1, 3, 1, 1)


def change_epsilon(state: dict[str, Tensor], trained: float, used: float) -> None:
    """Keep BatchNorm results when the network's epsilon is not the one the weights were trained with, in place."""
    for name, value in state.items():
        if name.endswith("running_var"):
            state[name] = value + torch.as_tensor(trained - used, dtype=value.dtype)
