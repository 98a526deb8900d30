"""A data-dependent start of the text projection: whitened word and sentence features.

Features of a text encoder share a large common part: the sentences "man in red" and "man in green" have a cosine of
about 0.9, and after a random projection with a bias 0.99, so that nothing downstream can tell colours apart until the
projection has unlearned it. Whitening (PCA of the training captions, scaled to equal variance) removes the common part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from humar_edge.models.prompting import TextProjection
from humar_edge.training.step import Texts

CAPTIONS = 3000
"""Captions that are looked at."""
FLOOR = 0.1
"""Added to all variances, over their mean: what hardly varies in training must not dominate with new words."""


@torch.no_grad()
def whiten(projection: TextProjection, texts: Texts, captions: Sequence[str], seed: int) -> None:
    """Set the linear layers of a fresh projection from a sample of the captions."""
    kinds = sorted(set(captions))
    order = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(seed))[:CAPTIONS].tolist()
    words, sentences = [], []
    for start in range(0, len(order), 64):
        features, mask, whole = texts([kinds[index] for index in order[start : start + 64]])
        words.append(features[mask.bool()].cpu())
        sentences.append(whole.cpu())
    for layers, found in ((projection.words, words), (projection.sentence, sentences)):
        linear = layers[0]
        assert isinstance(linear, nn.Linear)
        set_whitening(linear, torch.cat(found))


@torch.no_grad()
def set_whitening(linear: nn.Linear, features: Tensor) -> None:
    """Make a layer map features [M,d] to their largest principal components, scaled to similar variance.

    Outputs beyond the number of components keep their random weights.
    """
    features = features.double()
    mean = features.mean(0)
    variances, axes = torch.linalg.eigh((features - mean).T @ (features - mean) / max(1, len(features) - 1))
    count = min(linear.out_features, linear.in_features)
    variances, axes = variances.flip(0)[:count].clamp(min=0), axes.flip(1)[:, :count]
    scale = (variances + FLOOR * variances.mean() + 1e-12).rsqrt()
    matrix = (axes * scale).T
    linear.weight[:count] = matrix.to(linear.weight)
    linear.bias[:count] = -(matrix @ mean).to(linear.bias)
