"""Batch norms: of a pretrained backbone fixed, of a fresh one learning, of an unpacked network with new statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_original, tiny_trainer, write_people  # noqa: E402

from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.loop import Trainer, batches  # noqa: E402
from humar_edge.training.norms import folded_norms  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.session import _fixed_backbone  # noqa: E402
from humar_edge.training.text_cache import short_tokenizer  # noqa: E402
from humar_edge.training.uniphd_step import OriginalStep  # noqa: E402

RECIPE = Recipe(batch=2, steps=2, warmup=1, decoded=4)


def moved(trainer: Trainer, fixed: bool) -> bool:
    """Whether training changes the statistics of all norms of the backbone, or (must be) of none."""
    trainer.module.fixed_backbone = fixed
    norms = [m for m in trainer.module.network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    trainer.run(lambda *_: None)
    changed = [
        not (torch.equal(mean, norm.running_mean) or torch.equal(variance, norm.running_var))
        for norm, (mean, variance) in zip(norms, before, strict=True)
    ]
    assert len(changed) == 4 and len(set(changed)) == 1
    return changed[0]


@pytest.mark.parametrize("fixed", [True, False])
def test_norms_learn_only_in_a_backbone_that_is_not_fixed(tmp_path: Path, fixed: bool) -> None:
    data = write_people(tmp_path / "data", splits=("train",))
    light = tiny_trainer(data, tmp_path / "light", RECIPE)
    assert moved(light, fixed) is not fixed
    network = tiny_original()
    step = OriginalStep(network, short_tokenizer(network.text_encoder, 32))
    original = Trainer(network, None, light.maker, RECIPE, tmp_path / "original", {}, module=step)
    assert moved(original, fixed) is not fixed


def test_a_backbone_is_fixed_if_pretrained_or_as_its_checkpoint_says(tmp_path: Path) -> None:
    def fixed(**changes: Any) -> bool:
        options = {"output": tmp_path / "run", "resume": True, "init": None, "pretrained": True}
        return _fixed_backbone(options | {"backbone_weights": None} | changes)

    def saved(path: Path, state: dict[str, Any]) -> Path:
        layer = torch.nn.Linear(1, 1)
        checkpoint.save(path, layer, layer.state_dict(), None, state)
        return path

    assert fixed() and not fixed(pretrained=False)
    assert fixed(pretrained=False, backbone_weights=Path("weights.safetensors"))
    scratch, other = saved(tmp_path / "a", {"fixed_backbone": False}), saved(tmp_path / "b", {"step": 1})
    assert not fixed(init=scratch) and fixed(init=other, pretrained=False)
    saved(tmp_path / "run" / "last", {"fixed_backbone": False})
    assert not fixed() and fixed(resume=False) and not fixed(init=other)


def test_folded_norms_get_statistics_without_changing_the_network(tmp_path: Path) -> None:
    data = write_people(tmp_path / "data", splits=("train",))
    recipe = replace(RECIPE, batch=6)
    trainer = tiny_trainer(data, tmp_path / "run", recipe)
    norms = [module for module in trainer.network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert trainer.unfold_norms() == 0  # fresh
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in norms:
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.uniform_(-0.5, 0.5, generator=generator)
    weights = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    image = next(batches(trainer.maker, 6, 0, 0)).image

    def pyramid(training: bool) -> Any:
        with torch.no_grad():
            return trainer.network.train(training).pyramid(image)

    used, trained = pyramid(False), pyramid(True)
    trainer.network.load_state_dict(weights)
    kept = tiny_trainer(data, tmp_path / "kept", replace(recipe, fixed_norms=True))
    kept.network.load_state_dict(weights)
    assert kept.unfold_norms() == 0

    assert trainer.unfold_norms() == len(norms) and len(folded_norms(trainer.network)) < len(norms)
    assert all(
        torch.equal(value, trainer.average.tensors[name]) for name, value in trainer.network.state_dict().items()
    )
    for before, after, once, now in zip(used, pyramid(False), trained, pyramid(True), strict=True):
        torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
        assert (now - before).abs().mean() < 0.3 * (once - before).abs().mean()
