"""`tite`: learned token and position embeddings over a vocabulary made from the training captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from torch import Tensor, nn

from humar_edge.errors import CheckpointError
from humar_edge.models.text.encoder import TextEncoder, masked_mean
from humar_edge.models.tokenizer import BERT, TOKENS, characters, load_tokenizer, wordpiece_tokenizer

WIDTH = 768
VOCABULARY = 1200
"""Rows of the embedding table, whatever the captions: a checkpoint keeps its shape when the vocabulary changes."""


def build_tite_vocabulary(captions: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """Make the vocabulary of `tite` from training captions.

    It holds the special tokens, all single characters (so that a word never seen still splits into letters) and the
    most frequent words, ties in alphabetical order.

    Args:
        captions: Training captions.
        size: Entries at most.

    Returns:
        A tokenizer; store it with the model (`tokenizer.save(path)`).
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(caption)))
    fixed = [BERT.pad, BERT.unknown, BERT.start, *characters()]
    words = sorted((word for word in counts if word not in set(fixed)), key=lambda word: (-counts[word], word))
    pieces = [*fixed, *words][:size]
    return wordpiece_tokenizer({piece: index for index, piece in enumerate(pieces)}, ends=False)


class TiteEncoder(TextEncoder):
    """Token + position embeddings, and one depthwise convolution that lets neighbouring words change each other.

    About 0.95M parameters, nearly all of them in the table of tokens.

    Args:
        tokenizer: From `build_tite_vocabulary`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        if tokenizer.get_vocab_size() > VOCABULARY:
            raise CheckpointError(
                f"text encoder 'tite': a vocabulary of {tokenizer.get_vocab_size()} is more than {VOCABULARY}"
            )
        self.dim = WIDTH
        self.tokenizer = tokenizer
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(TOKENS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.mix = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.out_norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.register_buffer("order", torch.arange(TOKENS), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `TextEncoder.forward`; at most 32 tokens."""
        real = attention_mask.unsqueeze(-1).to(self.tokens.weight.dtype)
        order: Tensor = self.order  # type: ignore[assignment]
        words = self.norm(self.tokens(input_ids) + self.positions(order[: input_ids.shape[1]])) * real
        mixed = self.mix(words.transpose(1, 2)).transpose(1, 2)
        words = self.out_norm(words + torch.relu(mixed)) * real
        return words, masked_mean(words, attention_mask)

    def description(self) -> dict[str, Any]:
        """See `TextEncoder.description`."""
        return {"kind": "tite", "tokenizer": self.tokenizer.to_str()}


def tite_encoder(source: str | Path | None, *, untrained: bool) -> TiteEncoder:
    """The encoder over a stored vocabulary; without one, `untrained` falls back to characters.

    Raises:
        CheckpointError: There is no vocabulary.
    """
    if source is not None:
        return TiteEncoder(load_tokenizer(Path(source)))
    if not untrained:
        raise CheckpointError(
            "text encoder 'tite' has no published weights: pass source=PATH to the tokenizer.json that "
            "build_tite_vocabulary(captions) made, or untrained=True"
        )
    return TiteEncoder(build_tite_vocabulary([]))
