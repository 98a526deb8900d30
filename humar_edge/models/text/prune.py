"""Smaller vocabularies for embedded bundles: the rows of the embedding table that plain captions never use go."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterable
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from humar_edge.errors import ConfigError
from humar_edge.models.text.encoder import TextEncoder, TransformerTextEncoder

_CONTINUED = "##"
_UNUSED = re.compile(r"\[unused\d+\]")


def kept_pieces(vocabulary: dict[str, int], special: set[str], keep: int, used: Collection[str] = ()) -> list[str]:
    """Choose the pieces of a smaller vocabulary.

    Args:
        vocabulary: Piece -> id of a WordPiece model.
        special: Special tokens.
        keep: Words and word pieces to keep, the first ones by id (BERT's vocabulary is roughly by frequency).
        used: Pieces to keep besides.

    Returns:
        Special tokens, all single characters and '##' characters (so that any word still splits into known pieces),
        the first `keep` other pieces and the used ones; in the order of their old ids. BERT's [unusedN] rows are left
        out.
    """
    chosen, words = [], 0
    for piece in sorted(vocabulary, key=lambda piece: vocabulary[piece]):
        if piece in special or piece in used or len(piece.removeprefix(_CONTINUED)) <= 1:
            chosen.append(piece)
        elif words < keep and not _UNUSED.fullmatch(piece):
            chosen.append(piece)
            words += 1
    return chosen


def _renumbered_processor(processor: dict[str, Any] | None, new: dict[str, int]) -> dict[str, Any] | None:
    """The step that adds [CLS] and [SEP], with new ids."""
    if processor is None:
        return None
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new[name] for name in token["tokens"]]
    elif processor["type"] == "BertProcessing":
        for end in ("sep", "cls"):
            processor[end][1] = new[processor[end][0]]
    else:
        raise ConfigError(f"cannot prune a tokenizer whose post-processor is {processor['type']}")
    return processor


def pruned_tokenizer(tokenizer: Tokenizer, keep: int, captions: Iterable[str] = ()) -> tuple[Tokenizer, list[int]]:
    """A tokenizer of fewer pieces.

    Args:
        tokenizer: A WordPiece tokenizer.
        keep: See `kept_pieces`.
        captions: Texts whose pieces all stay.

    Returns:
        The new tokenizer, and for each of its ids the old id.

    Raises:
        ConfigError: The tokenizer is not WordPiece.
    """
    data = json.loads(tokenizer.to_str())
    if data["model"]["type"] != "WordPiece":
        raise ConfigError(f"only WordPiece vocabularies can be pruned, not {data['model']['type']}")
    old: dict[str, int] = data["model"]["vocab"]
    special = {token["content"] for token in data["added_tokens"]} | {data["model"]["unk_token"]}
    used = {piece for encoding in tokenizer.encode_batch(list(captions)) for piece in encoding.tokens}
    pieces = kept_pieces(old, special, keep, used)
    new = {piece: index for index, piece in enumerate(pieces)}
    data["model"]["vocab"] = new
    for token in data["added_tokens"]:
        token["id"] = new[token["content"]]
    data["post_processor"] = _renumbered_processor(data["post_processor"], new)
    if data["padding"]:
        data["padding"]["pad_id"] = new[data["padding"]["pad_token"]]
    return Tokenizer.from_str(json.dumps(data)), [old[piece] for piece in pieces]


def prune_vocabulary(encoder: TextEncoder, keep: int, captions: Iterable[str] = ()) -> TextEncoder:
    """A copy of an encoder with a smaller vocabulary; captions of kept words give the same features as before.

    BERT counted words in books and Wikipedia, where "umbrella" or "backpack" are rare: give the training captions as
    well, so that what they name keeps its own piece.

    Args:
        encoder: A BERT-like encoder with a WordPiece vocabulary.
        keep: Words and word pieces to keep, the most frequent first.
        captions: Texts whose pieces all stay.

    Raises:
        ConfigError: The encoder has no WordPiece vocabulary.
    """
    if not isinstance(encoder, TransformerTextEncoder):
        raise ConfigError("only encoders with a WordPiece vocabulary can be pruned; tite's is small already")
    tokenizer, rows = pruned_tokenizer(encoder.tokenizer, keep, captions)
    body = copy.deepcopy(encoder.text_backbone)
    table = encoder.embeddings()
    padding = tokenizer.padding["pad_id"] if tokenizer.padding else None
    smaller = nn.Embedding(len(rows), table.embedding_dim, padding_idx=padding, dtype=table.weight.dtype)
    with torch.no_grad():
        smaller.weight.copy_(table.weight[torch.tensor(rows, device=table.weight.device)])
    body.set_input_embeddings(smaller.to(table.weight.device))
    body.config.vocab_size = len(rows)
    body.config.pad_token_id = padding
    return TransformerTextEncoder(body, tokenizer, encoder.pooling).train(encoder.training)
