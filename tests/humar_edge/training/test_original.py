"""The original transformer in the loop of the light families."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("scipy")

from tiny_training import SIZE, tiny_original, tiny_trainer, write_people  # noqa: E402

from humar_edge.errors import HumarError  # noqa: E402
from humar_edge.training.batch import Batch  # noqa: E402
from humar_edge.training.loop import Trainer, batches  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402
from humar_edge.training.text_cache import short_tokenizer  # noqa: E402
from humar_edge.training.uniphd_step import OriginalStep, ReferringUniPHD, targets_of  # noqa: E402


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory):
    data = write_people(tmp_path_factory.mktemp("people"), splits=("train",))
    return tiny_trainer(data, tmp_path_factory.mktemp("run"), Recipe()).maker


@pytest.fixture(scope="module")
def batch(maker) -> Batch:
    stream = batches(maker, 4, 0, 0)
    found = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert 0 < len(found.pointed) < len(found.owner) and not found.present.all()
    return found


def step_of(network: ReferringUniPHD) -> OriginalStep:
    return OriginalStep(network, short_tokenizer(network.text_encoder, 32))


def test_targets_are_the_batch_in_other_units(batch: Batch) -> None:
    for row, target in enumerate(targets_of(batch)):
        assert len(target.boxes) == int(batch.present[row]) and target.size == (SIZE, SIZE)
        if not len(target.boxes):
            continue
        x, y, w, h = target.boxes[0].tolist()
        assert [x - w / 2, y - h / 2, x + w / 2, y + h / 2] == pytest.approx(batch.box[row].tolist(), abs=1e-6)
        assert target.masks is not None and target.masks.shape == (1, SIZE, SIZE)
        assert float(target.area[0]) == pytest.approx(float(target.masks.float().mean()), abs=1e-6)


def test_both_kinds_of_prompts_reach_every_parameter(batch: Batch) -> None:
    network = tiny_original().eval()
    parts = step_of(network)(batch)
    assert set(parts) == {"class", "box", "giou", "keypoints", "oks", "visibility", "mask", "dice"}
    torch.stack(list(parts.values())).sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_it_trains_stops_and_continues(maker, tmp_path: Path) -> None:
    network = tiny_original()
    recipe = Recipe(batch=2, steps=3, rate=1e-3, backbone_rate=1e-3, text_rate=1e-3, warmup=0, clip=0.1)
    trainer = Trainer(network, None, maker, recipe, tmp_path, {}, module=step_of(network))
    losses: list[float] = []
    path = trainer.run(lambda _, parts: losses.append(parts["loss"]))
    assert len(losses) == 3 and all(0 < loss < 1e4 for loss in losses)
    other = tiny_original()
    again = Trainer(other, None, maker, recipe, tmp_path, {}, module=step_of(other))
    again.resume(path)
    assert again.step == 3
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_one_that_diverges_stops_like_a_loss_that_is_not_finite(maker, tmp_path: Path) -> None:
    network = tiny_original()
    recipe = Recipe(batch=2, steps=9, rate=1e30, backbone_rate=1e30, text_rate=1e30, warmup=0)
    trainer = Trainer(network, None, maker, recipe, tmp_path, {}, module=step_of(network))
    with pytest.raises(HumarError, match=r"not finite at step 1; the batch is in .*bad_batch\.pt"):
        trainer.run(lambda *_: None)
    saved = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert len(saved["captions"]) == len(saved["owner"]) and trainer.step == 1


def test_the_interface_is_that_of_the_light_networks(batch: Batch) -> None:
    network = tiny_original().eval()
    with torch.inference_mode():
        prompt = network.encode_text(torch.tensor([[1, 5, 6]]), torch.ones(1, 3, dtype=torch.int64))
        found = network(batch.image[:1], prompt.tokens, prompt.mask, prompt.sentence)
        pointed = network.forward_points(batch.image[:1], torch.full((1, 12, 2), 0.5))
    for answer in (found, pointed):
        assert [tuple(x.shape) for x in answer] == [(1,), (1, 4), (1, 17, 3), (1, SIZE // 4, SIZE // 4)]
