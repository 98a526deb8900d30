"""Networks from a combination, and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from humar_edge.combos import Combo
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.models.backbones import build_backbone
from humar_edge.models.network import HumarNet
from humar_edge.models.text import build_text_encoder, restore_text_encoder
from humar_edge.models.transformers import build_transformer

if TYPE_CHECKING:
    from humar_edge.training.uniphd_step import ReferringUniPHD

STEM = ("body.conv_stem", "body.bn1", "body.blocks.0", "body.blocks.1")
"""EfficientNet-Lite0 up to stride 4: edges and textures that ImageNet has taught, and the costliest to train."""

NOT_CHOOSING = (
    "backbone",
    *(f"transformer.{name}" for name in ("neck", "colour", "proposals", "points", "fusion", "embed", "instance")),
)
"""Parts of a light network that do not choose: what sees, and what describes the chosen person."""


def build_network(
    combo: Combo,
    text_encoder: nn.Module | None,
    text_dim: int,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    attributes: int = 0,
) -> HumarNet:
    """A light network with fresh heads.

    Args:
        combo: The components.
        text_encoder: Part of the network, or None where features are cached.
        text_dim: Width of its word features.
        pretrained: ImageNet weights for the backbone.
        weights: A file with backbone weights instead.
        attributes: How many attributes of people its training names.
    """
    if combo.transformer_type == "original":
        raise ConfigError("the original transformer is a whole network of its own; build it with build_original")
    backbone = build_backbone(combo.backbone, weights=weights, pretrained=pretrained and weights is None)
    channels: tuple[int, ...] = backbone.channels  # type: ignore[assignment]
    transformer = build_transformer(combo.transformer_type, channels, text_dim, **combo.overrides)
    return HumarNet(backbone, text_encoder, transformer, attributes)  # type: ignore[arg-type]


def build_original(
    combo: Combo, text_encoder: nn.Module, *, pretrained: bool = False, weights: Path | None = None
) -> ReferringUniPHD:
    """The original network behind the interface of the light ones; arguments as in `build_network`."""
    from humar_edge.models.original.uniphd import UniPHD
    from humar_edge.training.uniphd_step import ReferringUniPHD

    backbone = build_backbone(combo.backbone, weights=weights, pretrained=pretrained and weights is None)
    return ReferringUniPHD(UniPHD(backbone, text_encoder, **combo.overrides))


def freeze(network: nn.Module, names: tuple[str, ...]) -> None:
    """Keep the weights of the named modules; names that do not exist are an error."""
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise ConfigError(f"cannot freeze '{name}': the backbone has no such part")
        modules[name].requires_grad_(False)


def describe(combo_name: str, combo: Combo, size: int, token_length: int) -> dict[str, Any]:
    """What a checkpoint's state says about its network."""
    return {
        "combo": combo_name,
        "components": {
            "transformer_type": combo.transformer_type,
            "text_encoder_type": combo.text_encoder_type,
            "backbone": combo.backbone,
        },
        "overrides": combo.overrides,
        "input_size": [size, size],
        "token_length": token_length,
    }


def combo_of(state: dict[str, Any]) -> Combo:
    """The combination that a checkpoint's state describes.

    Raises:
        CheckpointError: The state does not describe one.
    """
    try:
        parts = state["components"]
        return Combo(
            parts["transformer_type"],
            parts["text_encoder_type"],
            parts["backbone"],
            best_for="",
            overrides=dict(state.get("overrides", {})),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint does not describe its network (missing {error})") from error


def load_network(path: Path, *, text_source: str | None = None) -> tuple[Any, dict[str, Any]]:
    """The averaged network of a checkpoint folder in evaluation mode, with its text encoder, and its state.

    Args:
        path: Checkpoint folder.
        text_source: Where a text encoder comes from that the folder does not hold: frozen, and published.

    Returns:
        A `HumarNet`, or for the original transformer a `ReferringUniPHD`; and the state.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights do not fit.
    """
    from humar_edge.training import checkpoint

    state = checkpoint.read_state(path)
    combo = combo_of(state)
    stored = state.get("text_encoder")
    if stored is None:
        encoder = build_text_encoder(combo.text_encoder_type, source=text_source)
    else:
        encoder = restore_text_encoder(stored)
    network: Any
    if combo.transformer_type == "original":
        network = build_original(combo, encoder)
    else:
        network = build_network(combo, encoder if stored else None, encoder.dim)
    try:
        network.load_state_dict(without_attributes(checkpoint.read_weights(path)))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {state['combo']}: {checkpoint.reason(error)}") from error
    if network.text_encoder is None:
        network.text_encoder = encoder
    return network.eval(), state


def without_attributes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network without those of the head that only training uses."""
    return {name: value for name, value in weights.items() if not name.startswith("attributes.")}


@contextmanager
def quick_math() -> Iterator[None]:
    """Denormal numbers count as zero inside: late in training they slow CPU kernels down.

    The processor's mode is restored afterwards, because code of others in the same process may need such numbers.
    """
    flushed = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
