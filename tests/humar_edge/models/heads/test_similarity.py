"""Inner products of cells with a prompt."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from humar_edge.models.heads.selection import Similarity  # noqa: E402
from humar_edge.models.prompting import Prompt  # noqa: E402


def test_it_is_the_sentence_and_the_best_real_word():
    torch.manual_seed(0)
    module = Similarity(6, 8)
    x, tokens, sentence = torch.randn(2, 6, 3, 4), torch.randn(2, 5, 8), torch.randn(2, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found = module(x, Prompt(tokens, mask, sentence)).detach()
    assert found.shape == (2, 2, 12)
    key = module.key(x)
    for n in range(2):
        for cell in range(12):
            seen = key[n, :, cell // 4, cell % 4] * 6**-0.5
            words = [float(module.words(tokens[n, t]) @ seen) for t in range(5) if mask[n, t]]
            assert found[n, 0, cell].item() == pytest.approx(float(module.sentence(sentence[n]) @ seen), abs=1e-5)
            assert found[n, 1, cell].item() == pytest.approx(max(words), abs=1e-5)


def test_padding_does_not_matter():
    torch.manual_seed(0)
    module = Similarity(6, 8)
    x, tokens, sentence = torch.randn(1, 6, 2, 2), torch.randn(1, 3, 8), torch.randn(1, 8)
    short = module(x, Prompt(tokens, torch.ones(1, 3), sentence))
    padded = torch.cat([tokens, torch.full((1, 4, 8), 9.0)], 1)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
    torch.testing.assert_close(module(x, Prompt(padded, mask, sentence)), short)
