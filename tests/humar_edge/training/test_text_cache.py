"""Cached text features."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from humar_edge.models.prompting import Prompt  # noqa: E402
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary  # noqa: E402
from humar_edge.models.tokenizer import encode_captions  # noqa: E402
from humar_edge.training.text_cache import TextCache, join, short_tokenizer  # noqa: E402

CAPTIONS = ["a man", "the woman in the red coat on the left of the door", "a child", "people"]


class Counting(TiteEncoder):
    """Knows how many captions it was asked to encode."""

    seen = 0

    def forward(self, input_ids, attention_mask):
        self.seen += len(input_ids)
        return super().forward(input_ids, attention_mask)


@pytest.fixture
def encoder() -> Counting:
    torch.manual_seed(0)
    return Counting(build_tite_vocabulary(CAPTIONS))


def test_features_do_not_depend_on_the_company_of_a_caption(encoder: Counting) -> None:
    together = TextCache(encoder)(CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        words, mask, sentence = TextCache(encoder)([caption])
        length = int(together[1][row].sum())
        assert words.shape[1] == length == int(mask.sum())
        torch.testing.assert_close(together[0][row, :length], words[0], atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(together[2][row], sentence[0], atol=2e-3, rtol=2e-3)
        assert not together[0][row, length:].any(), "padding is zero"


def test_features_are_those_of_the_encoder_at_full_length(encoder: Counting) -> None:
    ids, mask = encode_captions(encoder.tokenizer, CAPTIONS)
    with torch.no_grad():
        words, sentence = encoder.eval()(ids, mask)
    cached = TextCache(encoder)(CAPTIONS)
    torch.testing.assert_close(cached[2], sentence, atol=2e-3, rtol=2e-3)
    length = cached[0].shape[1]
    real = mask[:, :length, None].bool()
    torch.testing.assert_close(cached[0] * real, words[:, :length] * real, atol=2e-3, rtol=2e-3)
    assert torch.equal(cached[1], mask[:, :length])


def test_a_caption_is_encoded_once(encoder: Counting) -> None:
    cache = TextCache(encoder)
    first = cache([*CAPTIONS, CAPTIONS[0]])
    assert encoder.seen == len(CAPTIONS)
    second = cache([*CAPTIONS, CAPTIONS[0]])
    assert encoder.seen == len(CAPTIONS)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(first[0][0], first[0][4])


def test_a_full_cache_still_answers(encoder: Counting) -> None:
    cache = TextCache(encoder, capacity=1)
    kept = cache(["a man"])
    for _ in range(2):
        assert torch.equal(cache(["a man", "a child"])[0][0, : kept[0].shape[1]], kept[0][0])
    assert encoder.seen == 3


def test_long_captions_are_cut(encoder: Counting) -> None:
    words, mask, _ = TextCache(encoder, token_length=5)(["red " * 50, "a man"])
    assert words.shape[1] == 5
    assert int(mask[0].sum()) == 5 > int(mask[1].sum())


def test_the_encoder_s_own_tokenizer_is_left_alone(encoder: Counting) -> None:
    before = encoder.tokenizer.to_str()
    short_tokenizer(encoder, 5)
    assert encoder.tokenizer.to_str() == before


def test_nothing_is_trained(encoder: Counting) -> None:
    words, _, sentence = TextCache(encoder)(CAPTIONS)
    assert not words.requires_grad and not sentence.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(("words", "points"), [(3, 12), (20, 12)])
def test_prompts_of_both_kinds_join_in_one_batch(words: int, points: int) -> None:
    torch.manual_seed(0)
    text = Prompt(torch.randn(3, words, 4), torch.ones(3, words).long(), torch.randn(3, 4))
    pointed = Prompt(torch.randn(1, points, 4), torch.ones(1, points).long(), torch.randn(1, 4), torch.rand(1, 1, 2, 2))
    found = join(text, pointed, torch.tensor([1]))
    assert found.tokens.shape == (3, max(words, points), 4)
    assert found.mask.sum(1).tolist() == [words, points, words]
    assert torch.equal(found.tokens[1, :points], pointed.tokens[0])
    assert torch.equal(found.tokens[2, :words], text.tokens[2]) and torch.equal(found.sentence[0], text.sentence[0])
    assert torch.equal(found.sentence[1], pointed.sentence[0])
    assert not found.heat[[0, 2]].any() and torch.equal(found.heat[1], pointed.heat[0])
