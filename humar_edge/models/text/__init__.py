"""Text encoders: one function that builds any of them by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from humar_edge.combos import TEXT_ENCODERS, known
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.models.hub import packaged_file
from humar_edge.models.text.encoder import TextEncoder, TransformerTextEncoder
from humar_edge.models.text.loading import body_from_config, trained_encoder, untrained_encoder
from humar_edge.models.text.table import OTHER, RECIPES
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary, tite_encoder
from humar_edge.models.tokenizer import encode_captions, fit_length

__all__ = [
    "TextEncoder",
    "build_text_encoder",
    "build_tite_vocabulary",
    "encode_captions",
    "restore_text_encoder",
]

_OTHER_PREFIX = "hf:"


def build_text_encoder(name: str, *, source: str | Path | None = None, untrained: bool = False) -> TextEncoder:
    """Build a text encoder.

    Args:
        name: A key of `humar_edge.combos.TEXT_ENCODERS`, or `hf:<model-id-or-path>` for any other encoder of the
            transformers library (mean pooling).
        source: Folder with config, weights and tokenizer; default: an installed package, else the Hugging Face hub.
            For `tite`: the `tokenizer.json` (or its folder) that `build_tite_vocabulary` made.
        untrained: Random weights in the right shape. The vocabulary comes from `source`, or from an installed
            package, or else is one of characters.

    Returns:
        An encoder with `.dim`, `.tokenizer` and `forward(input_ids, attention_mask) -> (words, sentence)`.

    Raises:
        ConfigError: The name is unknown; the message names near matches.
        CheckpointError: Weights or tokenizer cannot be had.
    """
    if name == "tite":
        return tite_encoder(source, untrained=untrained)
    if name.startswith(_OTHER_PREFIX):
        wanted = str(source or name.removeprefix(_OTHER_PREFIX))
        if not wanted:
            raise ConfigError("text encoder 'hf:' needs a model id or a path after the colon")
        if untrained:
            raise ConfigError(f"text encoder '{name}' has no built-in shape; untrained=True is for the named encoders")
        return trained_encoder(OTHER, wanted, f"text encoder '{name}'")
    recipe = RECIPES[known("text encoder", name, TEXT_ENCODERS)]
    if untrained:
        return untrained_encoder(recipe)
    if source is not None and not Path(source).is_dir():
        raise CheckpointError(f"text encoder '{name}': source '{source}' is not a folder")
    found = source or (packaged_file(*recipe.package) if recipe.package else None) or TEXT_ENCODERS[name].hub
    return trained_encoder(recipe, str(found), f"text encoder '{name}'")


def restore_text_encoder(description: dict[str, Any]) -> TextEncoder:
    """Build an encoder from `TextEncoder.description()`; its weights are then loaded from a state dict."""
    tokenizer = fit_length(Tokenizer.from_str(description["tokenizer"]))
    if description["kind"] == "tite":
        return TiteEncoder(tokenizer)
    return TransformerTextEncoder(body_from_config(description["config"]), tokenizer, description["pooling"])
