"""A teacher's answers as targets."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_encoder, tiny_network, tiny_original, tiny_trainer, write_people  # noqa: E402

from humar_edge.combos import Combo  # noqa: E402
from humar_edge.models.blocks import cell_centres  # noqa: E402
from humar_edge.models.heads.instance import WINDOW  # noqa: E402
from humar_edge.models.original.uniphd import Referred  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.batch import Batch  # noqa: E402
from humar_edge.training.build import build_original, describe  # noqa: E402
from humar_edge.training.distillation import (  # noqa: E402
    WEIGHTS,
    LightTeacher,
    View,
    compare,
    divergence,
    load_teacher,
)
from humar_edge.training.losses import LOSSES, Decoding, decode_and_compare  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.step import LightStep, build_prompt  # noqa: E402
from humar_edge.training.text_cache import TextCache  # noqa: E402
from humar_edge.training.uniphd_teacher import OriginalTeacher  # noqa: E402

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
    teacher = LightTeacher(network)
    student = tiny_network(encoder, student_seed).eval()
    scene = student.scene(batch.image)
    prompt = build_prompt(student, teacher.texts, batch, scene.pyramid)
    _, decoding = decode_and_compare(student.transformer, scene, prompt, batch, 5)
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


def test_a_light_teacher_is_asked_about_the_student_s_candidates(batch: Batch) -> None:
    """One that differs in nothing but whom it would propose agrees with its student."""
    encoder = tiny_encoder()
    student = tiny_network(encoder, 1).eval()
    with torch.no_grad():
        student.transformer.people.shape.weight.zero_()  # which reads the objectness, too
    network = deepcopy(student)
    network.text_encoder = encoder
    with torch.no_grad():
        network.transformer.proposals.score.weight.neg_()
    teacher, scene = LightTeacher(network), student.scene(batch.image)
    prompt = build_prompt(student, teacher.texts, batch, scene.pyramid)
    _, decoding = decode_and_compare(student.transformer, scene, prompt, batch, 5)
    assert not torch.equal(network.scene(batch.image).people.cells, scene.people.cells)
    torch.testing.assert_close(teacher.view(batch, decoding).logits, decoding.selection.logits)


def test_a_student_comes_closer_and_the_teacher_stays(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = tiny_encoder()
    network = tiny_network(encoder, 1)
    network.text_encoder = encoder
    with torch.no_grad():  # an untrained network hardly prefers anybody
        for layer in (network.transformer.selection.score, network.transformer.selection.none):
            layer.weight.mul_(3)
    teacher = LightTeacher(network, weight=10)  # so that it outweighs the truth, with which it does not agree
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, steps=30))
    trainer.module = trainer.model = LightStep(trainer.network, trainer.texts, 4, teacher)  # type: ignore[arg-type]
    losses: list[dict[str, float]] = []
    trainer.run(lambda _, parts: losses.append(parts))
    assert set(losses[0]) == {*LOSSES, *WEIGHTS, "loss", "data_wait"}
    begin, end = (sum(parts["teach_select"] for parts in some) for some in (losses[:5], losses[-5:]))
    assert end < 0.5 * begin
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not [name for name in trainer.module.state_dict() if "teacher" in name]


def test_the_original_answers_each_prompt_as_its_engines_do(batch: Batch) -> None:
    network = tiny_original()
    teacher = OriginalTeacher(network)
    found = teacher.answer(batch)
    pointed = batch.pointed.tolist()
    assert 0 < len(pointed) < len(batch.owner)
    for row in (0, *pointed[:1], *[r for r in range(len(batch.owner)) if r not in pointed][-1:]):
        image = batch.image[batch.owner[row]][None]
        with torch.no_grad():
            if row in pointed:
                alone = network.forward_points(image, batch.points[pointed.index(row)][None])
            else:
                words, mask, whole = teacher.texts([batch.captions[row]])
                tokens, sentence = network.transformer.prompts.project_text(words, whole)
                alone = network(image, tokens, mask, sentence)
        for together, single in zip(found, alone, strict=True):
            torch.testing.assert_close(together[row], single[0], rtol=1e-4, atol=1e-4)


def answer_about(batch: Batch, score: float) -> Referred:
    """The truth, as an original network would put it."""
    low, high = batch.box[:, :2], batch.box[:, 2:]
    points = torch.cat([batch.keypoints[..., :2], torch.ones_like(batch.keypoints[..., :1])], 2)
    mask = torch.nn.functional.avg_pool2d(batch.mask[:, None].float(), 2)[:, 0] * 20 - 10
    return Referred(torch.full((len(low),), score), torch.cat([(low + high) / 2, high - low], 1), points, mask)


def viewed(batch: Batch, answer: Referred) -> tuple[Decoding, View, dict[str, torch.Tensor]]:
    teacher = OriginalTeacher(tiny_original())
    teacher.answer = lambda _: answer  # type: ignore[method-assign]
    student = tiny_network(tiny_encoder(), 2).eval()
    scene = student.scene(batch.image)
    prompt = build_prompt(student, TextCache(tiny_encoder()), batch, scene.pyramid)
    _, decoding = decode_and_compare(student.transformer, scene, prompt, batch, 50)
    return decoding, teacher.view(batch, decoding), teacher.losses(batch, decoding)


def test_an_answer_of_the_original_in_units_of_the_student(batch: Batch) -> None:
    decoding, view, losses = viewed(batch, answer_about(batch, 0.9))
    shares, reached = view.logits.softmax(1)[batch.present], decoding.target.sum(1) > 0
    assert reached.float().mean() > 0.5, "most people have candidates"
    # also of people whom the student does not propose it learns that they are there
    torch.testing.assert_close(shares[:, -1], torch.full((len(shares),), 0.1), rtol=1e-3, atol=1e-3)
    difference = (shares[:, :-1] - 0.9 * decoding.target).abs().sum(1)[reached] / 2
    assert difference.max() < 0.2  # its mask is coarser
    seen = view.seen
    assert seen is not None and seen.trust.all() and decoding.found is not None
    # students that look where the teacher looks, and paint what it paints, have (almost) nothing to learn
    found = decoding.found._replace(heatmaps=seen.heatmaps, mask=torch.logit(seen.mask.clamp(1e-4, 1 - 1e-4)))
    same = compare(decoding._replace(selection=decoding.selection._replace(logits=view.logits), found=found), view, 1.0)
    assert same["teach_select"] < 1e-5 and same["teach_heat"] < 1e-5 and same["teach_mask"] < 0.5 * losses["teach_mask"]
    assert losses["teach_select"] > 0.1 and losses["teach_heat"] > 0.01
    rows = decoding.rows
    peak = seen.heatmaps.flatten(2).argmax(2)
    grid = cell_centres(*WINDOW).flatten(1).T[peak]
    points = found.corner[:, None] + grid * found.size[:, None]
    close = (points - batch.keypoints[rows, :, :2]).abs() <= found.size[:, None] / torch.tensor([WINDOW[1], WINDOW[0]])
    assert close.all(2)[seen.joints > 0].all() and (seen.joints > 0).float().mean() > 0.5


def test_the_original_s_view_of_another_person_is_not_learnt(batch: Batch) -> None:
    answer = answer_about(batch, 0.9)
    _, view, losses = viewed(batch, answer._replace(box=torch.cat([answer.box[:, :2] + 0.5, answer.box[:, 2:]], 1)))
    assert view.seen is not None and not view.seen.trust.any()
    assert losses["teach_heat"] == 0 and losses["teach_mask"] == 0 and losses["teach_select"] > 0


def test_a_checkpoint_of_the_original_teaches(data: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    sizes = {"queries": 4, "width": 64, "hidden": 32, "encoder_layers": 1, "decoder_layers": 1}
    combo = Combo("original", "tite", "efficientnet_lite0", best_for="", overrides=sizes)
    network = build_original(combo, encoder)
    state = describe("original-tiny", combo, 64, 32) | {"text_encoder": encoder.description()}
    checkpoint.save(tmp_path / "teacher", network, network.state_dict(), None, state)
    teacher = load_teacher(tmp_path / "teacher", torch.device("cpu"), 0.5)
    assert isinstance(teacher, OriginalTeacher) and teacher.weight == 0.5 and not teacher.network.training
    trainer = tiny_trainer(data, tmp_path / "run", replace(RECIPE, steps=12))
    trainer.module = trainer.model = LightStep(trainer.network, trainer.texts, 4, teacher)  # type: ignore[arg-type]
    losses: list[dict[str, float]] = []
    trainer.run(lambda _, parts: losses.append(parts))
    assert set(losses[0]) == {*LOSSES, *WEIGHTS, "loss", "data_wait"}
    assert losses[-1]["teach_select"] < losses[0]["teach_select"]
