"""What is exported: a network with its combination, from a checkpoint or, on request, with random weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from humar_edge.combos import COMBOS, Combo, known
from humar_edge.errors import CheckpointError, ConfigError, ExportError
from humar_edge.models.tokenizer import TOKENS

ORIGINAL = "original"
PUBLISHED = (".pth", ".pt", ".safetensors")
"""What published files end with."""
BLIND_SPREAD = 0.05
"""Deviation of random values that replace zeros in untrained layers, so that a check of the graph sees them."""


@dataclass
class Source:
    """A network ready for export.

    Attributes:
        network: `HumarNet` or `UniPHD` in evaluation mode, with its text encoder.
        combo_name: Name of the combination.
        combo: Its components.
        input_size: Height and width of the canvas.
        trained: False for random weights.
        state: What the checkpoint says about itself.
    """

    network: nn.Module
    combo_name: str
    combo: Combo
    input_size: tuple[int, int]
    trained: bool
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def original(self) -> bool:
        """Whether this is UniPHD, whose engines take normalised pictures."""
        return self.combo.transformer_type == ORIGINAL

    @property
    def encoder(self) -> Any:
        """The text encoder."""
        return self.network.text_encoder

    @property
    def width(self) -> int:
        """D: width of words and sentence after projection."""
        return int(self.network.transformer.width)  # type: ignore[union-attr,arg-type]

    @property
    def token_length(self) -> int:
        """T: tokens of a prompt."""
        return int(self.state.get("token_length", TOKENS))

    def fingerprint(self) -> bytes:
        """SHA-256 of all weights and the vocabulary."""
        digest = hashlib.sha256(self.encoder.tokenizer.to_str().encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()

    def prune(self, keep: int, captions: Iterable[str] = ()) -> None:
        """Replace the vocabulary by its `keep` most frequent words and everything that `captions` use.

        Raises:
            ConfigError: The encoder has no WordPiece vocabulary.
        """
        from humar_edge.models.text.prune import prune_vocabulary

        self.network.text_encoder = prune_vocabulary(self.encoder, keep, captions)


def open_source(
    combo_name: str,
    combo: Combo,
    checkpoint: Path | None,
    *,
    untrained: bool = False,
    input_size: tuple[int, int] | None = None,
    text_source: str | None = None,
    ema: bool = False,
) -> Source:
    """Build a combination and fill it.

    Args:
        combo_name: Name of the combination.
        combo: Its components, overrides applied.
        checkpoint: A folder written by `humar-edge train`; for the original transformer also a published file.
        untrained: Random weights instead, for latency work.
        input_size: Height and width; default: as trained, else the combination's.
        text_source: Folder of the text encoder, where it is not installed.
        ema: The averaged copy of a published file.

    Raises:
        ExportError: Neither a checkpoint nor `untrained`.
        ConfigError: The checkpoint is of another combination, or the size does not fit.
        CheckpointError: The checkpoint cannot be read.
    """
    known("combination", combo_name, COMBOS)
    if checkpoint is None and not untrained:
        raise ExportError("nothing to export: give --checkpoint, or --untrained for random weights (latency work only)")
    if checkpoint is not None and untrained:
        raise ConfigError("--checkpoint and --untrained contradict each other")
    if checkpoint is None:
        torch.manual_seed(0)
        source = Source(_random(combo), combo_name, combo, input_size or combo.input_size, trained=False)
        _open_eyes(source.network)
    elif combo.transformer_type == ORIGINAL and (checkpoint.is_file() or checkpoint.suffix in PUBLISHED):
        source = _published(combo_name, combo, checkpoint, input_size, text_source, ema)
    else:
        source = _trained(combo_name, combo, checkpoint, input_size, text_source)
    height, width = source.input_size
    if min(height, width) < 64 or height % 32 or width % 32:
        raise ConfigError(f"--imgsz {height},{width}: height and width must be multiples of 32 and at least 64")
    source.network.eval().requires_grad_(False)
    return source


def _random(combo: Combo) -> nn.Module:
    from humar_edge.models.backbones import build_backbone
    from humar_edge.models.text import build_text_encoder

    encoder = build_text_encoder(combo.text_encoder_type, untrained=not combo.text_encoder_type.startswith("hf:"))
    if combo.transformer_type == ORIGINAL:
        from humar_edge.models.original.uniphd import UniPHD

        return UniPHD(build_backbone(combo.backbone), encoder, **combo.overrides)
    from humar_edge.training.build import build_network

    return build_network(combo, encoder, encoder.dim)


def _open_eyes(network: nn.Module) -> None:
    """Give layers that start at zero random weights: a comparison with zeros would prove nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(0, BLIND_SPREAD)


def _trained(
    combo_name: str, combo: Combo, checkpoint: Path, input_size: tuple[int, int] | None, text_source: str | None
) -> Source:
    from humar_edge.training.build import combo_of, load_network

    if checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: give the checkpoint's folder (with state.json), not a file in it")
    network, state = load_network(checkpoint, text_source=text_source)
    trained = combo_of(state)
    for part in ("transformer_type", "text_encoder_type", "backbone"):
        if getattr(trained, part) != getattr(combo, part):
            raise ConfigError(
                f"{checkpoint} was trained with {part} {getattr(trained, part)}, not {getattr(combo, part)}; "
                f"give --combo {state.get('combo', '?')}"
            )
    height, width = state.get("input_size", combo.input_size)
    if trained.transformer_type == ORIGINAL:
        # Training wraps UniPHD into the interface of the light networks; engines are made of the network itself.
        network = network.network
    return Source(network, combo_name, trained, input_size or (int(height), int(width)), trained=True, state=state)


def _published(
    combo_name: str,
    combo: Combo,
    checkpoint: Path,
    input_size: tuple[int, int] | None,
    text_source: str | None,
    ema: bool,
) -> Source:
    from humar_edge.models.backbones import build_backbone
    from humar_edge.models.checkpoints import load_upstream
    from humar_edge.models.original.uniphd import UniPHD
    from humar_edge.models.text import build_text_encoder

    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such file")
    # The checkpoint holds the text encoder's weights: its own are not needed, only its vocabulary.
    encoder = build_text_encoder(combo.text_encoder_type, source=text_source)
    network = UniPHD(build_backbone(combo.backbone), encoder, **combo.overrides)
    load_upstream(network, checkpoint, ema=ema)
    return Source(network, combo_name, combo, input_size or combo.input_size, trained=True)
