"""Word features of a frozen text encoder, computed once per caption."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from humar_edge.models.prompting import Prompt
from humar_edge.models.text import TextEncoder


class TextCache:
    """Looks up or computes frozen text features.

    Args:
        encoder: Text encoder with `.tokenizer`, `(ids, mask) -> (words, sentence)`.
        token_length: Longest prompt in tokens.
        capacity: Captions to keep; beyond it new ones are computed each time.
    """

    def __init__(self, encoder: TextEncoder, token_length: int = 32, capacity: int = 200_000) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.tokenizer = short_tokenizer(encoder, token_length)
        self.capacity = capacity
        self._features: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
        encoded = self.tokenizer.encode_batch(captions)
        device = next((parameter.device for parameter in self.encoder.parameters()), None)
        ids = torch.tensor([e.ids for e in encoded], device=device)
        mask = torch.tensor([e.attention_mask for e in encoded], device=device)
        words, sentence = (x.cpu() for x in self.encoder(ids, mask))
        lengths = mask.sum(1).tolist()
        return {c: (words[i, : lengths[i]].half(), sentence[i].half()) for i, c in enumerate(captions)}

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Word features float32 [N,T,d], mask int64 [N,T] and sentence features float32 [N,d]; T fits the longest."""
        found = {caption: self._features[caption] for caption in captions if caption in self._features}
        new = sorted({caption for caption in captions if caption not in found})
        if new:
            fresh = self._encode(new)
            found |= fresh
            if len(self._features) < self.capacity:
                self._features |= fresh
        rows = [found[caption] for caption in captions]
        words = nn.utils.rnn.pad_sequence([row[0].float() for row in rows], batch_first=True)
        lengths = torch.tensor([len(row[0]) for row in rows])
        mask = (torch.arange(words.shape[1])[None] < lengths[:, None]).long()
        return words, mask, torch.stack([row[1].float() for row in rows])


def short_tokenizer(encoder: TextEncoder, length: int) -> Tokenizer:
    """A copy of the encoder's tokenizer that cuts at `length` and pads only to the longest caption of a batch."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    padding = tokenizer.padding or {}
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))
    return tokenizer


def join(text: Prompt, points: Prompt, pointed: Tensor) -> Prompt:
    """Prompts of both kinds in one batch: rows `pointed` come from `points`, the rest from `text` (N rows)."""
    length = max(text.tokens.shape[1], points.tokens.shape[1])

    def pad(x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, length - x.shape[1]))

    assert points.heat is not None
    heat = points.heat.new_zeros(len(text.tokens), *points.heat.shape[1:])
    return Prompt(
        pad(text.tokens).index_copy(0, pointed, pad(points.tokens).to(text.tokens.dtype)),
        pad(text.mask).index_copy(0, pointed, pad(points.mask)),
        text.sentence.index_copy(0, pointed, points.sentence.to(text.sentence.dtype)),
        heat.index_copy(0, pointed, points.heat),
    )
