"""Batch norms of the backbone: fixed where it is pretrained, learning where it starts from random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_original, tiny_trainer, write_people  # noqa: E402

from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.loop import Trainer  # noqa: E402
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
