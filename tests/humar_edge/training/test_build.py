"""The mode of the processor during training, and which parts learn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "tokenizers"):
    pytest.importorskip(needed)

from humar_edge.training.build import NOT_CHOOSING, freeze, quick_math  # noqa: E402
from humar_edge.training.step import LightStep  # noqa: E402
from humar_edge.training.text_cache import TextCache  # noqa: E402


def _denormals_count() -> bool:
    return bool(torch.tensor(1e-40) * 1 != 0)


@pytest.mark.parametrize("before", [True, False])
def test_denormals_are_zero_inside_and_as_before_outside(before: bool) -> None:
    torch.set_flush_denormal(not before)
    try:
        with pytest.raises(RuntimeError, match="inside"), quick_math():
            assert not _denormals_count()
            raise RuntimeError("inside")
        assert _denormals_count() is before
    finally:
        torch.set_flush_denormal(False)


def test_only_what_chooses_learns_and_the_rest_computes_as_in_use() -> None:
    from tiny_training import tiny_encoder, tiny_network

    encoder = tiny_encoder()
    network = tiny_network(encoder)
    freeze(network, NOT_CHOOSING)
    learning = {name.split(".")[1] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"text", "people", "selection"}
    step = LightStep(network, TextCache(encoder), decoded=1)
    step.train()
    step.prepare_modes()
    training = {name for name, part in network.transformer.named_children() if part.training}
    assert training == learning


def test_a_frozen_text_encoder_inside_computes_as_in_use() -> None:
    from tiny_training import tiny_encoder, tiny_network

    encoder = tiny_encoder()
    network = tiny_network(encoder)
    network.text_encoder = encoder
    step = LightStep(network, TextCache(encoder), decoded=1)
    step.train()
    step.prepare_modes()
    assert not encoder.training and network.transformer.training
    encoder.requires_grad_(True)
    step.train()
    step.prepare_modes()
    assert encoder.training
