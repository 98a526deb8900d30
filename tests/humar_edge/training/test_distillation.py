"""A teacher's answers as targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_encoder, tiny_network, tiny_trainer, write_people  # noqa: E402

from humar_edge.training.batch import Batch  # noqa: E402
from humar_edge.training.distillation import WEIGHTS, Teacher, divergence  # noqa: E402
from humar_edge.training.losses import LOSSES, decode_and_compare  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.step import LightStep, build_prompt  # noqa: E402

RECIPE = Recipe(batch=2, steps=4, warmup=1, decoded=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"), splits=("train",))


@pytest.fixture(scope="module")
def batch(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    from humar_edge.training.loop import batches

    stream = batches(tiny_trainer(data, tmp_path_factory.mktemp("run"), RECIPE).maker, 3, 0, 0)
    found = next(stream)
    stream.close()  # type: ignore[attr-defined]
    return found


def taught(batch: Batch, seed: int, student_seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    encoder = tiny_encoder()
    network = tiny_network(encoder, seed)
    network.text_encoder = encoder
    teacher = Teacher(network)
    student = tiny_network(encoder, student_seed).eval()
    pyramid = student.pyramid(batch.image)
    prompt = build_prompt(student, teacher.texts, batch, pyramid)
    _, decoding = decode_and_compare(student.transformer, pyramid, prompt, batch, 5)
    return {name: value.detach() for name, value in teacher.losses(batch, decoding).items()}


def test_divergence_is_kullback_leibler() -> None:
    student, teacher = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    ours, theirs = student.softmax(-1), teacher.softmax(-1)
    wanted = (theirs * (theirs / ours).log()).sum(-1)
    assert torch.allclose(divergence(student, teacher), wanted, atol=1e-5)
    assert torch.allclose(divergence(teacher, teacher + 3), torch.zeros(2, 3), atol=1e-6)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(batch: Batch) -> None:
    same, other = taught(batch, 1, 1), taught(batch, 1, 2)
    assert set(same) == set(WEIGHTS)
    for name in ("teach_select", "teach_heat"):
        assert float(same[name]) == pytest.approx(0, abs=1e-5) and float(other[name]) > 1e-3
    assert float(other["teach_mask"]) > float(same["teach_mask"]) > 0  # at best the teacher's own entropy


def test_a_student_comes_closer_and_the_teacher_stays(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = tiny_encoder()
    network = tiny_network(encoder, 1)
    network.text_encoder = encoder
    teacher = Teacher(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, steps=12))
    trainer.module = trainer.model = LightStep(trainer.network, trainer.texts, 4, teacher)  # type: ignore[arg-type]
    losses: list[dict[str, float]] = []
    trainer.run(lambda _, parts: losses.append(parts))
    assert set(losses[0]) == {*LOSSES, *WEIGHTS, "loss", "data_wait"}
    assert losses[-1]["teach_select"] < losses[0]["teach_select"]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not [name for name in trainer.module.state_dict() if "teacher" in name]
