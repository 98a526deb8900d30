"""Loads encoders of the transformers library from a folder, a package or the hub; never runs code of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from humar_edge.errors import CheckpointError, ConfigError, MissingExtraError
from humar_edge.models.hub import hub_file, packaged_file, unreachable
from humar_edge.models.text.encoder import TransformerTextEncoder
from humar_edge.models.text.table import TextRecipe
from humar_edge.models.tokenizer import TOKENIZER_FILES, fit_length, load_tokenizer, small_tokenizer
from humar_edge.models.torchvision_guard import guard_torchvision

ADVICE = "pass source=FOLDER with a local copy, or untrained=True to start from random weights"


def import_transformers() -> Any:
    """The transformers module.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    guard_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "train") from error
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the library's reports about heads that an encoder does not have."""
    logging = transformers.utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def body_from_config(config: dict[str, Any]) -> Any:
    """An encoder with random weights from `{"model_type": ..., ...}`."""
    transformers = import_transformers()
    arguments = {key: value for key, value in config.items() if key != "model_type"}
    found = transformers.AutoConfig.for_model(config["model_type"], **arguments)
    return transformers.AutoModel.from_config(found, attn_implementation="eager")


def load_config(source: str, what: str) -> dict[str, Any]:
    """The architecture of a folder or hub repository, as `body_from_config` takes it.

    Raises:
        CheckpointError: The folder or repository has none, or the hub cannot be reached.
    """
    transformers = import_transformers()
    try:
        found = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # the library raises many kinds
        raise unreachable(source, what, ADVICE, error) from error
    return {**found.to_diff_dict(), "model_type": found.model_type}


def load_body(source: str, what: str) -> Any:
    """Load an encoder's weights (safetensors, or tensors only) from a folder or a hub repository.

    Raises:
        CheckpointError: The folder or repository has none, or the hub cannot be reached.
        ConfigError: The model is not a text encoder.
    """
    transformers = import_transformers()
    with _quiet(transformers):
        try:
            body = transformers.AutoModel.from_pretrained(
                source, attn_implementation="eager", trust_remote_code=False
            ).float()
        except ImportError:
            raise
        except Exception as error:  # the library raises many kinds for missing, damaged and unreachable models
            if Path(source).is_dir():
                line = (str(error).splitlines() or ["no details"])[0]
                raise CheckpointError(f"{what}: cannot load '{source}' ({type(error).__name__}: {line})") from error
            raise unreachable(source, what, ADVICE, error) from error
    config = body.config
    if getattr(config, "is_encoder_decoder", False) or not hasattr(config, "hidden_size"):
        raise ConfigError(f"{what}: '{source}' ({config.model_type}) is not a plain text encoder")
    return body


def load_any_tokenizer(source: str, what: str) -> Tokenizer:
    """The tokenizer of a folder or hub repository.

    Raises:
        CheckpointError: There is none.
    """
    if Path(source).is_dir():
        return load_tokenizer(Path(source))
    try:
        return load_tokenizer(hub_file(source, TOKENIZER_FILES, what, ADVICE))
    except CheckpointError as error:
        try:
            found = import_transformers().AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        except Exception:
            raise error from None
        if not hasattr(found, "backend_tokenizer"):
            raise CheckpointError(f"{what}: '{source}' has no fast tokenizer (tokenizer.json)") from error
        return fit_length(found.backend_tokenizer)


def untrained_encoder(recipe: TextRecipe) -> TransformerTextEncoder:
    """Random weights in the built-in shape; the vocabulary of an installed package, or else characters."""
    folder = packaged_file(*recipe.vocabulary) if recipe.vocabulary else None
    tokenizer = load_tokenizer(folder) if folder else small_tokenizer(recipe.specials)
    return TransformerTextEncoder(body_from_config(recipe.config), tokenizer, recipe.pooling)


def trained_encoder(recipe: TextRecipe, source: str, what: str) -> TransformerTextEncoder:
    """Weights and tokenizer from a folder or hub repository."""
    return TransformerTextEncoder(load_body(source, what), load_any_tokenizer(source, what), recipe.pooling)
