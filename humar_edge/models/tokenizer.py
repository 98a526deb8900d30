"""Tokenizers of the text encoders, all as `tokenizers.Tokenizer`, cut and padded to the prompt length."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from humar_edge.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = 32
"""T: tokens of a prompt, special ones included."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_MAX_WORD = 100


class Specials(NamedTuple):
    """The special tokens of a vocabulary, by name."""

    start: str
    end: str
    pad: str
    unknown: str


BERT = Specials("[CLS]", "[SEP]", "[PAD]", "[UNK]")
ROBERTA = Specials("<s>", "</s>", "<pad>", "<unk>")
_PADS = (BERT.pad, ROBERTA.pad)


def fit_length(tokenizer: Tokenizer, length: int = TOKENS) -> Tokenizer:
    """Truncate and pad to `length` tokens, in place; the padding token is the vocabulary's own."""
    known = (tokenizer.padding or {}).get("pad_token")
    pad = next((token for token in (known, *_PADS) if token and tokenizer.token_to_id(token) is not None), None)
    if pad is None:
        raise CheckpointError(f"the tokenizer has no padding token (looked for {', '.join(_PADS)})")
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    return tokenizer


def wordpiece_tokenizer(vocabulary: dict[str, int], specials: Specials = BERT, *, ends: bool = True) -> Tokenizer:
    """An uncased WordPiece tokenizer: accents stripped, split at punctuation, pieces marked with '##'.

    Args:
        vocabulary: Piece -> id, containing the special tokens.
        specials: Names of the special tokens.
        ends: Close each caption with the end token.
    """
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=specials.unknown, max_input_chars_per_word=_MAX_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    used = (specials.start, specials.end) if ends else (specials.start,)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{specials.start} $A {specials.end}" if ends else f"{specials.start} $A",
        special_tokens=[(token, vocabulary[token]) for token in used],
    )
    tokenizer.add_special_tokens([token for token in specials if token in vocabulary])
    return fit_length(tokenizer)


def characters() -> list[str]:
    """Single characters and their '##' forms: with these in a vocabulary, no plain-English word is unknown."""
    inner = string.ascii_lowercase + string.digits
    return [*inner, *string.punctuation, *(f"##{character}" for character in inner)]


def small_tokenizer(specials: Specials = BERT) -> Tokenizer:
    """A tokenizer of characters, for untrained encoders whose real vocabulary is not at hand.

    Ids of the special tokens follow the real vocabularies: RoBERTa's <s>, <pad>, </s>, <unk> are 0..3.
    """
    order = (specials.start, specials.pad, specials.end, specials.unknown)
    if specials is BERT:
        order = (specials.pad, specials.unknown, specials.start, specials.end)
    pieces = [*order, *characters()]
    return wordpiece_tokenizer({piece: index for index, piece in enumerate(pieces)}, specials)


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.

    Args:
        path: A `tokenizer.json`, a BERT `vocab.txt`, or a folder with one of them.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    if path.is_dir():
        found = next((path / name for name in TOKENIZER_FILES if (path / name).is_file()), None)
        if found is None:
            raise CheckpointError(f"'{path}' has no {' or '.join(TOKENIZER_FILES)}")
        path = found
    if path.suffix == ".txt":
        pieces = path.read_text(encoding="utf-8").split("\n")
        vocabulary = {piece: index for index, piece in enumerate(pieces) if piece}
        missing = [token for token in BERT if token not in vocabulary]
        if missing:
            raise CheckpointError(f"'{path}' is not a BERT vocabulary: it lacks {', '.join(missing)}")
        return wordpiece_tokenizer(vocabulary)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise CheckpointError(f"cannot read the tokenizer '{path}' ({error})") from error
    return fit_length(tokenizer)


def encode_captions(tokenizer: Tokenizer, captions: Sequence[str] | Iterable[str]) -> tuple[Tensor, Tensor]:
    """Tokenise captions.

    Returns:
        Ids and mask (1 = a real token), both int64 [N, T].
    """
    import torch

    encodings = tokenizer.encode_batch(list(captions))
    ids = torch.tensor([encoding.ids for encoding in encodings], dtype=torch.int64)
    mask = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.int64)
    return ids, mask
