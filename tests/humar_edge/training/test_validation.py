"""Validation during and after a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from refhuman_factory import annotation, image, nobody, write_split  # noqa: E402
from tiny_training import SIZE, tiny_encoder, tiny_trainer, write_people  # noqa: E402

from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.validation import Validator  # noqa: E402


def test_pictures_that_cannot_be_used_are_told_and_end_nothing(tmp_path: Path) -> None:
    data = write_people(tmp_path / "data", 2, splits=("train",))
    images = [image(1, "person in red", "a.png"), image(2, "person in green", "b.png")]
    write_split(data, images, [annotation(1, (10, 10, 60, 100)), nobody(2)])
    (data / "images" / "b.png").write_bytes(b"no picture")
    trainer = tiny_trainer(data, tmp_path / "run", replace(Recipe(), batch=2, steps=1))
    scale = trainer.network.transformer.score_scale.fill_(0.7)
    trainer.average.tensors["transformer.score_scale"] = scale.clone()
    validator = Validator(RefHumanIndex.load(data).entries, 10, SIZE, 8, tiny_encoder())
    summary = validator.validate(trainer)
    assert summary is not None and summary["skipped"] == {"unreadable picture": 1} and summary["entries"] == 1
    found = validator.finish(trainer)
    assert found is not None and "not calibrated" in found[1]
    assert "left out of 2 entries: 1 unreadable picture" in found[1]
    assert trainer.average.tensors["transformer.score_scale"].item() == pytest.approx(0.7), "left as it was"
