"""The mean of checkpoints, of a real light network."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("timm", "transformers"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from light_checkpoint import write_light_checkpoint  # noqa: E402

from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.build import load_network  # noqa: E402


def moved(source, target, change):
    """The same network with other averaged weights."""
    network, state = load_network(source)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            change(name, value)
    checkpoint.save(target, network, network.state_dict(), None, state | {"metrics": {"Acc": 0.5}})
    return target


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return write_light_checkpoint(tmp_path_factory.mktemp("first") / "last")


def run(tool, *arguments):
    return CliRunner().invoke(tool("mean_of_checkpoints").main, [str(argument) for argument in arguments])


def test_the_mean_of_two_is_between_them(tool, first, tmp_path):
    def change(name, value):
        if name.startswith("transformer.") and value.is_floating_point() and "running" not in name:
            value.add_(0.01)

    second = moved(first, tmp_path / "second", change)
    done = run(tool, first, second, "--output", tmp_path / "mean", "--imgsz", 96)
    assert done.exit_code == 0, done.output
    (one, _), (two, _), (mean, state) = (load_network(path) for path in (first, second, tmp_path / "mean"))
    assert state["input_size"] == [96, 96] and "metrics" not in state
    name = "transformer.score_scale"
    one, two, mean = (network.state_dict()[name] for network in (one, two, mean))
    torch.testing.assert_close(mean, (one + two) / 2)
    assert run(tool, first, second, "--output", tmp_path / "mean").exit_code == 2


def test_norms_are_folded_before(tool, first, tmp_path):
    """Two networks that compute the same with different statistics have a mean that computes the same."""
    network, _ = load_network(first)
    norms = [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    generator = torch.Generator().manual_seed(0)
    factors = {name: torch.rand(1, generator=generator) + 0.5 for name in norms}

    def change(name, value):
        norm, _, part = name.rpartition(".")
        if norm not in factors:
            return
        module = network.get_submodule(norm)
        if part == "running_var":
            value.copy_((value + module.eps) * factors[norm] ** 2 - module.eps)
        if part == "weight":
            value.mul_(factors[norm])

    second = moved(first, tmp_path / "second", change)
    assert run(tool, first, second, "--output", tmp_path / "mean").exit_code == 0
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        for ours, theirs in zip(load_network(tmp_path / "mean")[0].pyramid(image), network.pyramid(image), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_refusals(tool, first, tmp_path):
    done = run(tool, first, tmp_path / "none", "--output", tmp_path / "mean")
    assert done.exit_code == 2 and "none" in done.output and not (tmp_path / "mean").exists()
