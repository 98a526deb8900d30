from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "uniphd"


@pytest.fixture(scope="session")
def load_fixture():
    """The module of deterministic weights that belongs to the reference vectors."""
    spec = importlib.util.spec_from_file_location("reference_weights", FIXTURES / "reference_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_network():
    """Maker of small networks whose every weight is random, so that no branch is idle."""
    torch = pytest.importorskip("torch")
    from humar_edge.models.backbones.swin import SwinTransformer
    from humar_edge.models.original.uniphd import UniPHD

    class Words(torch.nn.Module):
        """Words without context: enough to see whether padding leaks."""

        dim = 12

        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(50, self.dim)

        def forward(self, input_ids, attention_mask):
            words = self.embedding(input_ids)
            weight = attention_mask[..., None].to(words)
            return words, (words * weight).sum(1) / weight.sum(1)

    def make(queries=5, decoder_layers=2, randomise=True):
        torch.manual_seed(0)
        network = UniPHD(
            SwinTransformer(16, (1, 2, 1, 1), (1, 2, 4, 8)),
            Words(),
            queries,
            width=64,
            hidden=48,
            encoder_layers=1,
            decoder_layers=decoder_layers,
        ).eval()
        if randomise:
            generator = torch.Generator().manual_seed(1)
            for parameter in network.parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 25
                noise = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
                parameter.data = noise if parameter.dim() > 1 else parameter.data + noise
        return network

    return make
