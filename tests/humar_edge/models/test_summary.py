"""Counts of parameters, multiply-accumulates and memory."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from humar_edge.combos import COMBOS, resolve  # noqa: E402
from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.models.activations import PeakMemory  # noqa: E402
from humar_edge.models.summary import (  # noqa: E402
    Network,
    build,
    check_input_size,
    layers,
    measure,
    memory_estimate,
    text_size,
    weight_bytes,
)


def tiny() -> Network:
    """One convolution as backbone and one linear layer after it: every count is known by hand."""
    backbone = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    transformer = nn.Module()
    transformer.add_module("out", nn.Linear(4, 5))
    transformer.width = 7

    def vision(image, tokens, mask, sentence):
        grid = backbone(image.permute(0, 3, 1, 2).float())
        return transformer.out(grid.mean((2, 3)))

    return Network(backbone, transformer, vision, 100)


def test_counts_of_a_network_known_by_hand() -> None:
    network = tiny()
    counted = network.parameters
    assert (counted.backbone, counted.transformer, counted.text) == (3 * 4 * 9 + 4, 25, 100)
    assert counted.total == 112 + 25 + 100
    cost = measure(network, (32, 64))
    assert cost.backbone_macs == 16 * 32 * 4 * 27
    assert cost.vision_macs == cost.backbone_macs + 4 * 5
    # The picture as float32 and the convolution's output.
    assert cost.peak_bytes == 4 * (32 * 64 * 3 + 16 * 32 * 4)


def test_layers_have_names_parameters_and_shapes() -> None:
    found = layers(tiny(), (32, 64))
    assert [(layer.name, layer.kind, layer.parameters, layer.outputs) for layer in found] == [
        ("transformer.out", "Linear", 25, ((1, 5),))
    ]


def test_peak_memory_frees_what_is_gone_and_counts_views_once() -> None:
    with torch.no_grad(), PeakMemory() as memory:
        first = torch.zeros(1000)
        second = first + 1
        del first
        view = second.view(10, 100)
        third = view * 2
        del second, view
        third += 1
    assert memory.peak == 2 * 4000


def test_weights_and_memory_at_each_precision() -> None:
    network = tiny()
    assert weight_bytes(network.backbone) == {"FP32": 448, "FP16": 224, "INT8": 108 + 4 * 4 + 2 * 4}
    estimate = memory_estimate(network, SimpleNamespace(peak_bytes=1000))
    assert estimate["FP32"] == {"weights": 4 * 137, "activations": 1000, "total": 4 * 137 + 1000}
    assert estimate["FP16"]["total"] == 2 * 137 + 500
    assert estimate["INT8"]["weights"] == 108 + 4 * 4 + 2 * 4 + 2 * 25, "the transformer stays FP16"
    covered = replace(network, int8_parts=(network.transformer.out,))
    assert memory_estimate(covered, SimpleNamespace(peak_bytes=0))["INT8"]["weights"] == 132 + 20 + 4 * 5 + 2 * 5


@pytest.mark.parametrize(
    ("name", "millions", "dim"),
    [("tinybert", 14.35, 312), ("minilm", 22.71, 384), ("distilbert", 66.36, 768), ("roberta", 124.65, 768)],
)
def test_text_encoders_are_counted_without_their_weights(name: str, millions: float, dim: int) -> None:
    parameters, width = text_size(name)
    assert (round(parameters / 1e6, 2), width) == (millions, dim)


def test_hf_encoders_are_counted_from_their_configuration(tmp_path) -> None:
    from transformers import BertConfig

    BertConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=50).save_pretrained(tmp_path)
    assert text_size(f"hf:{tmp_path}")[1] == 24


def test_sizes_are_multiples_of_32() -> None:
    check_input_size((384, 640))
    for size in ((100, 96), (0, 32), (-32, 32)):
        with pytest.raises(ConfigError, match="multiples of 32"):
            check_input_size(size)


def test_light_network_runs_at_a_rectangular_size() -> None:
    network = build(resolve("edge-lite"))
    cost = measure(network, (96, 160))
    assert 0 < cost.backbone_macs < cost.vision_macs
    assert 1.8e6 < network.parameters.transformer < 3.3e6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, combo in COMBOS.items() if combo.total])
def test_totals_are_within_ten_percent_of_the_customers(name: str) -> None:
    nominal = float(COMBOS[name].total.rstrip("M")) * 1e6
    assert build(COMBOS[name]).parameters.total == pytest.approx(nominal, rel=0.1)
