"""The text encoder of a run: frozen, trained further, or learned from scratch with its own vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from humar_edge.data.captions import mirror, paraphrase
from humar_edge.data.entries import Entry
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.models.text import TextEncoder, build_text_encoder, build_tite_vocabulary, restore_text_encoder
from humar_edge.models.text.tite import TiteEncoder
from humar_edge.training import checkpoint
from humar_edge.training.build import combo_of

FROM_SCRATCH = ("tite",)
"""Encoders without published weights: they are always trained."""


def heard(entries: Iterable[Entry], seed: int = 0) -> list[str]:
    """Captions as augmentation may say them: as written, mirrored, and in other words."""
    rng = np.random.default_rng(seed)
    captions = sorted({entry.caption for entry in entries})
    return [said for caption in captions for said in (caption, mirror(caption), paraphrase(caption, rng))]


def is_trained(name: str, transformer: str, wanted: bool | None) -> bool:
    """Whether the encoder is trained: on request, from scratch where it must be, and in UniPHD by default.

    Raises:
        ConfigError: An encoder without weights is to stay frozen.
    """
    if name in FROM_SCRATCH and wanted is False:
        raise ConfigError(f"--freeze-text: text encoder '{name}' has no published weights and must be trained")
    if wanted is None:
        return name in FROM_SCRATCH or transformer == "original"
    return wanted


def open_encoder(name: str, entries: Sequence[Entry], source: Path | None) -> TextEncoder:
    """The encoder to start from.

    Args:
        name: As in `build_text_encoder`.
        entries: Training entries, whose captions give the vocabulary of an encoder learned from scratch.
        source: Folder of the weights, or of the vocabulary.
    """
    if name in FROM_SCRATCH and source is None:
        return TiteEncoder(build_tite_vocabulary(heard(entries)))
    return build_text_encoder(name, source=source)


def stored_encoder(name: str, paths: Iterable[Path]) -> TextEncoder | None:
    """The encoder of the first checkpoint that can be read, with random weights; None if that one holds no encoder.

    Its weights are loaded with the network; a vocabulary made anew from other captions would give them to other words.

    Args:
        name: As in `build_text_encoder`.
        paths: Checkpoint folders, best first.

    Raises:
        CheckpointError: It is another encoder than `name`.
    """
    for path in paths:
        try:
            state = checkpoint.read_state(path)
        except CheckpointError:
            continue  # whoever loads the weights passes over it or says what is wrong with it
        if (description := state.get("text_encoder")) is None:
            return None
        if (found := combo_of(state).text_encoder_type) != name:
            raise CheckpointError(
                f"{path} has the text encoder '{found}', not '{name}'; give the options of its start, or another "
                "--output or --init"
            )
        return restore_text_encoder(description)
    return None
