"""Text encoders: word features and one sentence vector from token ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn


def masked_mean(words: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens.

    Args:
        words: [B, T, D].
        mask: [B, T], 1 = a real token.

    Returns:
        [B, D]; zeros where no token is real.
    """
    weights = mask.unsqueeze(-1).to(words.dtype)
    return (words * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _mean(outputs: Any, mask: Tensor) -> Tensor:
    return masked_mean(outputs.last_hidden_state, mask)


def _pooler(outputs: Any, mask: Tensor) -> Tensor:
    pooled: Tensor = outputs.pooler_output
    return pooled


POOLINGS: dict[str, Callable[[Any, Tensor], Tensor]] = {"mean": _mean, "pooler": _pooler}
"""How the sentence vector is made: mean of the real tokens, or the model's own pooler (dense + tanh on token 0)."""


class TextEncoder(nn.Module):
    """Base of the text encoders.

    Attributes:
        dim: Width D of word features and sentence vector.
        tokenizer: Cuts and pads to T tokens.
    """

    dim: int
    tokenizer: Tokenizer

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode captions.

        Args:
            input_ids: int64 [B, T].
            attention_mask: int64 [B, T], 1 = a real token.

        Returns:
            Word features float [B, T, D] (what they hold at padding is undefined) and sentence vectors float [B, D].
        """
        raise NotImplementedError

    def description(self) -> dict[str, Any]:
        """What `restore_text_encoder` needs to build this encoder again without its source; JSON-serialisable."""
        raise NotImplementedError


class TransformerTextEncoder(TextEncoder):
    """An encoder of the transformers library.

    Args:
        body: The encoder (BERT, DistilBERT, RoBERTa...), built with eager attention so that it exports to ONNX.
        tokenizer: Its tokenizer.
        pooling: A key of `POOLINGS`.
    """

    def __init__(self, body: Any, tokenizer: Tokenizer, pooling: str) -> None:
        super().__init__()
        self.text_backbone = body
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.dim = int(body.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `TextEncoder.forward`."""
        outputs = self.text_backbone(input_ids=input_ids, attention_mask=attention_mask)
        return outputs.last_hidden_state, POOLINGS[self.pooling](outputs, attention_mask)

    def description(self) -> dict[str, Any]:
        """See `TextEncoder.description`."""
        config = self.text_backbone.config.to_diff_dict()
        return {
            "kind": "transformer",
            "config": {**config, "model_type": self.text_backbone.config.model_type},
            "pooling": self.pooling,
            "tokenizer": self.tokenizer.to_str(),
        }

    def embeddings(self) -> nn.Embedding:
        """The token embedding table."""
        table = self.text_backbone.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table
