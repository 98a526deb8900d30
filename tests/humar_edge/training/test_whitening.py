"""The data-dependent start of the text projection."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers"):
    pytest.importorskip(needed)

from torch import nn  # noqa: E402

from humar_edge.models.prompting import TextProjection  # noqa: E402
from humar_edge.training.whitening import set_whitening, whiten  # noqa: E402


def cosine(rows):
    unit = nn.functional.normalize(rows, dim=1)
    return ((unit @ unit.T).sum() - len(rows)) / (len(rows) * (len(rows) - 1))


def test_outputs_are_centred_and_uncorrelated():
    torch.manual_seed(0)
    features = torch.randn(500, 6) * torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5, 0.2]) + 7
    linear = nn.Linear(6, 3)
    set_whitening(linear, features)
    out = linear(features).detach()
    assert out.mean(0).abs().max() < 1e-4
    correlation = torch.corrcoef(out.T)
    assert (correlation - torch.eye(3)).abs().max() < 1e-3
    assert 0.5 < out.std(0).min() and out.std(0).max() < 1.05


def test_more_outputs_than_features_keep_random_weights():
    torch.manual_seed(0)
    linear = nn.Linear(2, 5)
    before = linear.weight[2:].clone()
    set_whitening(linear, torch.randn(50, 2))
    assert torch.equal(linear.weight[2:], before)


def test_captions_that_differ_in_one_word_are_told_apart():
    """A common part much larger than the differences, as sentence features have."""
    torch.manual_seed(0)
    captions = [f"caption {number}" for number in range(60)]
    common, own = torch.randn(32) * 5, {caption: torch.randn(32) * 0.3 for caption in captions}

    def texts(asked):
        words = torch.stack([torch.stack([common, common + own[caption]]) for caption in asked])
        return words, torch.ones(len(asked), 2, dtype=torch.int64), words.mean(1)

    projection = TextProjection(32, 16)
    _, before = projection(*texts(captions)[::2])
    whiten(projection, texts, captions, seed=0)
    _, after = projection(*texts(captions)[::2])
    assert cosine(before) > 0.9 and cosine(after).abs() < 0.1
