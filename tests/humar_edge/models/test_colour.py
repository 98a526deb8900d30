"""Soft colour histograms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")

from humar_edge.models.backbones.pyramid import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from humar_edge.models.colour import ColourBins  # noqa: E402

REFERENCES = np.array(list(itertools.product(np.linspace(0, 1, 4), repeat=3)))


def normalised(pixels):
    return (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def test_shares_are_a_softmax_over_distances():
    torch.manual_seed(0)
    colours = torch.rand(5, 3)
    pixels = colours[:, :, None, None].expand(-1, -1, 32, 64)
    shares = ColourBins(8).shares(normalised(pixels))
    assert shares.shape == (5, 64, 4, 8)
    for colour, found in zip(colours.numpy(), shares.numpy()):
        likeness = np.exp(-((colour - REFERENCES) ** 2).sum(1) / (2 * ColourBins.SPREAD**2))
        np.testing.assert_allclose(found[:, 1, 2], likeness / likeness.sum(), atol=1e-5)


def test_a_cell_of_two_colours_has_both():
    """Not the colour between them: black and white stripes are not grey."""
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[..., 4:8] = 1
    shares = ColourBins(4).shares(normalised(pixels))[0, :, 0, 0]
    black, white = shares[0], shares[-1]
    assert black.item() == pytest.approx(white.item(), rel=1e-3) and black + white > 0.8


def test_any_size_gives_stride_8():
    assert ColourBins(6)(torch.zeros(2, 3, 64, 96)).shape == (2, 6, 8, 12)
