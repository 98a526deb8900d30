"""Students with other encoders: what is copied, what is learned, and who cannot teach."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from light_checkpoint import COMBO, write_light_checkpoint  # noqa: E402
from tiny_training import tiny_encoder, tiny_network, tiny_trainer, write_people  # noqa: E402

from humar_edge.combos import resolve  # noqa: E402
from humar_edge.errors import CheckpointError  # noqa: E402
from humar_edge.models.network import HumarNet  # noqa: E402
from humar_edge.models.text.tite import TiteEncoder, build_tite_vocabulary  # noqa: E402
from humar_edge.models.transformers.light import Detection  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.batch import Batch  # noqa: E402
from humar_edge.training.encoders import PEOPLE, PyramidStep, adopt, emphasis, level_loss, pair  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.text_cache import TextCache  # noqa: E402


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    from humar_edge.training.loop import batches

    data = write_people(tmp_path_factory.mktemp("people"), splits=("train",))
    recipe = Recipe(batch=2, steps=4, warmup=1, decoded=4)
    stream = batches(tiny_trainer(data, tmp_path_factory.mktemp("run"), recipe).maker, 3, 0, 0)
    found = next(stream)
    stream.close()  # type: ignore[attr-defined]
    return found


def test_all_but_the_encoders_is_copied() -> None:
    """What depends on the prompt, and what reads the pyramid before it; buffers, too."""
    teacher, student = tiny_network(tiny_encoder(), 1), tiny_network(tiny_encoder(), 2)
    fresh = {key: value.clone() for key, value in student.transformer.state_dict().items()}
    adopt(student, teacher, text=False)
    theirs = teacher.transformer.state_dict()
    parts = {key.split(".")[0] for key in theirs}
    assert parts > {"proposals", "people", "selection", "embed", "colour", "fusion", "instance", "points"}
    for key, value in student.transformer.state_dict().items():
        wanted = fresh if key.startswith("text.") else theirs
        assert torch.equal(value, wanted[key]), key
    assert not torch.equal(student.transformer.text.words[0].weight, theirs["text.words.0.weight"])
    adopt(student, teacher, text=True)
    assert torch.equal(student.transformer.text.words[0].weight, theirs["text.words.0.weight"])


def test_a_student_with_its_teacher_s_pyramid_and_prompt_answers_as_it_does(batch: Batch) -> None:
    encoder = tiny_encoder()
    teacher, student = tiny_network(encoder, 1).eval(), tiny_network(encoder, 2).eval()
    words, mask, sentence = TextCache(encoder)(batch.captions)
    with torch.no_grad():
        prompt = teacher.transformer.text_prompt(words, mask, sentence)
        pyramid = teacher.pyramid(batch.image)

        def answer(network: HumarNet) -> Detection:
            people = network.transformer.scene(pyramid).people
            return network.transformer(pyramid.rows(batch.owner), people.rows(batch.owner), prompt)

        before = answer(student)
        adopt(student, teacher, text=False)
        wanted = answer(teacher)
        assert not torch.allclose(before.score, wanted.score)
        for ours, theirs in zip(answer(student), wanted, strict=True):
            assert torch.equal(ours, theirs)


def test_a_continued_student_keeps_its_vocabulary(tmp_path: Path) -> None:
    teacher = write_light_checkpoint(tmp_path / "teacher")
    encoder = TiteEncoder(build_tite_vocabulary(["a zeppelin"]))
    state = checkpoint.read_state(teacher) | {"text_encoder": encoder.description()}
    checkpoint.save(tmp_path / "run" / "text", encoder, encoder.state_dict(), None, state)
    (tmp_path / "words").mkdir()
    tiny_encoder().tokenizer.save(str(tmp_path / "words" / "tokenizer.json"))
    combo = resolve(COMBO, backbone="efficientnet_lite0")
    found = {}
    for begun in ([], [tmp_path / "run" / "text"]):
        made = pair(teacher, COMBO, combo, 64, [], text_source=tmp_path / "words", begun=begun)
        assert made.learns_text and made.state["text_encoder"] == made.encoder.description()
        found[len(begun)] = made.encoder.tokenizer.token_to_id("zeppelin")
    assert found == {0: None, 1: encoder.tokenizer.token_to_id("zeppelin")}


def test_a_teacher_of_another_width_does_not_fit() -> None:
    with pytest.raises(CheckpointError, match="does not fit the student") as caught:
        adopt(tiny_network(tiny_encoder()), tiny_network(tiny_encoder(), width=32), text=False)
    assert "\n" not in str(caught.value)


def test_the_pyramid_is_learned_and_nothing_else(batch: Batch) -> None:
    teacher, student = tiny_network(tiny_encoder(), 1).eval().requires_grad_(False), tiny_network(tiny_encoder(), 2)
    adopt(student, teacher, text=False)
    step = PyramidStep(student, teacher)
    step.train()
    step.prepare_modes()
    learned = [name for name, parameter in student.named_parameters() if parameter.requires_grad]
    assert learned and all(name.startswith(("backbone.", "transformer.neck.")) for name in learned)
    still = [name for name, part in student.transformer.named_children() if not part.training]
    assert {*still, "neck"} == {name for name, _ in student.transformer.named_children()} and "neck" not in still
    kept = {name: value.clone() for name, value in student.named_parameters() if name not in learned}
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        parts = step(batch)
        assert tuple(parts) == step.names
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert all(torch.equal(value, dict(student.named_parameters())[name]) for name, value in kept.items())
    assert not [name for name in step.state_dict() if not name.startswith("network.")]


def test_a_perfect_student_has_no_loss_and_one_that_gives_the_mean_about_one() -> None:
    theirs = torch.randn(4, 6, 8, 8)
    weight = torch.ones(4, 1, 8, 8)
    assert float(level_loss(theirs, theirs, weight)) == 0
    mean = theirs.mean((0, 2, 3), keepdim=True).expand_as(theirs)
    assert 0.8 < float(level_loss(mean, theirs, weight)) < 1


def test_people_count_more(batch: Batch) -> None:
    weight = emphasis(batch, (8, 8))
    assert weight.shape == (len(batch.image), 1, 8, 8)
    assert set(weight.unique().tolist()) == {1.0, PEOPLE}
    row = int(batch.present.nonzero()[0])
    x, y = ((batch.box[row, :2] + batch.box[row, 2:]) / 2 * 8).long().clamp(0, 7).tolist()
    assert float(weight[int(batch.owner[row]), 0, y, x]) == PEOPLE


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    from humar_edge.errors import DataError
    from humar_edge.training.sources import list_pictures

    assert list_pictures(None) == []
    with pytest.raises(DataError, match="holds no pictures"):
        list_pictures(tmp_path)
    (tmp_path / "b.jpg").touch()
    (tmp_path / "a.PNG").touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.PNG", "b.jpg"]
