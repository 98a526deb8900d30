from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from humar_edge.models.original.batch import pad_batch  # noqa: E402
from humar_edge.models.original.prompts import TextPrompt  # noqa: E402
from humar_edge.training.uniphd_criterion import UniPHDCriterion  # noqa: E402
from humar_edge.training.uniphd_matching import Target  # noqa: E402


def make_target(height, width):
    return Target(
        boxes=torch.tensor([[0.5, 0.5, 0.3, 0.6]]),
        keypoints=torch.rand(1, 17, 2),
        visible=torch.ones(1, 17),
        area=torch.tensor([0.1]),
        size=(height, width),
        masks=torch.rand(1, height, width) > 0.5,
    )


def test_one_step_of_the_network_reaches_every_vision_parameter(small_network):
    network = small_network()
    canvas, padding, sizes = pad_batch([torch.randn(3, 32, 48), torch.randn(3, 24, 40)])
    targets = [make_target(32, 48), make_target(24, 40)]
    criterion = UniPHDCriterion()
    prompt = TextPrompt(torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 2, dtype=torch.int64))
    outputs = network(canvas, padding, sizes, prompt, select=criterion.selector(targets))
    criterion.total(criterion.losses(outputs, targets)).backward()
    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert all(name.startswith(("transformer.prompts.points", "transformer.fusion.points")) for name in idle), idle
