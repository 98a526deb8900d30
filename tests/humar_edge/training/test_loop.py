"""The loop: exact resume, passes, signals, a loss that is not finite, precision, checkpoints."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import tiny_trainer, write_people  # noqa: E402

from humar_edge.errors import CheckpointError, HumarError  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.groups import parameter_groups  # noqa: E402
from humar_edge.training.recipes import Recipe  # noqa: E402

RECIPE = Recipe(batch=2, steps=6, warmup=2, save_every=3, keep=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"), splits=("train",))


def record(losses: list[dict[str, float]]) -> Any:
    return lambda _, parts: losses.append({name: value for name, value in parts.items() if name != "data_wait"})


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_repeats_the_unbroken_one_bit_for_bit(data: Path, tmp_path: Path, accumulate: int) -> None:
    recipe = replace(RECIPE, accumulate=accumulate)
    whole: list[dict[str, float]] = []
    unbroken = tiny_trainer(data, tmp_path / "whole", recipe, dropout=0.2)
    unbroken.run(record(whole))

    def stop(trainer: Any, parts: dict[str, float]) -> None:
        halves.append({name: value for name, value in parts.items() if name != "data_wait"})
        if trainer.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    halves: list[dict[str, float]] = []
    first = tiny_trainer(data, tmp_path / "halves", recipe, dropout=0.2)
    path = first.run(stop)
    assert first.stopped == "SIGTERM" and first.step == 4  # the signal comes after step 3 and is heard in step 4
    torch.rand(5)  # what others draw meanwhile does not matter
    second = tiny_trainer(data, tmp_path / "halves", recipe, seed=9, dropout=0.2)
    second.resume(path)
    second.run(record(halves))
    assert halves == whole
    for ours, theirs in ((second.network.state_dict(), unbroken.network.state_dict()),
                         (second.average.tensors, unbroken.average.tensors)):  # fmt: skip
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_two_passes_of_one_picture_are_close_to_one_pass_of_two(data: Path, tmp_path: Path) -> None:
    """Not equal: each pass divides by its own counts."""
    ends = []
    for batch, accumulate in ((2, 1), (1, 2)):
        recipe = replace(RECIPE, batch=batch, accumulate=accumulate, steps=2, fixed_norms=True, decoded=100)
        losses: list[dict[str, float]] = []
        tiny_trainer(data, tmp_path / str(batch), recipe).run(record(losses))
        ends.append(losses[0]["loss"])
    assert ends[0] == pytest.approx(ends[1], rel=0.1)


def test_the_signal_is_given_back_afterwards(data: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, steps=100))
    trainer.run(lambda t, _: os.kill(os.getpid(), signal.SIGINT) if t.step == 1 else None)
    assert trainer.stopped == "SIGINT" and trainer.step == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.read_state(tmp_path / "last")["step"] == 2


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(data: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, save_every=1))

    def poison(trainer: Any, _: Any) -> None:
        if trainer.step == 2:
            trainer.network.transformer.selection.score.weight.data[0, 0] = float("nan")

    with pytest.raises(HumarError, match=r"not finite at step 2; the batch is in .*bad_batch\.pt"):
        trainer.run(poison)
    saved = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert saved["image"].shape[0] == 2 and len(saved["captions"]) == len(saved["owner"])
    assert trainer.step == 2


def test_bf16_trains(data: Path, tmp_path: Path) -> None:
    losses: list[dict[str, float]] = []
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, precision="bf16", steps=2))
    trainer.run(record(losses))
    assert all(parameter.dtype == torch.float32 for parameter in trainer.network.parameters())
    assert len(losses) == 2 and losses[1]["loss"] > 0


def test_keeps_the_last_checkpoints_and_the_best(data: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(data, tmp_path, replace(RECIPE, keep=3, save_every=1))
    trainer.run(lambda t, _: t.save_best({"quality": 1}) and None if t.step == 2 else None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "step-00000004", "step-00000005"]
    assert [checkpoint.read_state(path)["step"] for path in checkpoint.candidates(tmp_path / "last")] == [6, 5, 4]
    assert checkpoint.read_state(tmp_path / "best") | {"metrics": {"quality": 1}, "step": 2} == checkpoint.read_state(
        tmp_path / "best"
    )


def test_a_continued_run_takes_rates_and_decay_given_anew(data: Path, tmp_path: Path) -> None:
    path = tiny_trainer(data, tmp_path, replace(RECIPE, steps=1)).run(lambda *_: None)
    changed = replace(RECIPE, steps=2, rate=7e-3, backbone_rate=5e-3, decay=0.3)
    trainer = tiny_trainer(data, tmp_path, changed)
    trainer.resume(path)
    trainer.run(lambda *_: None)
    wanted = [(group["base"], group["weight_decay"]) for group in parameter_groups(trainer.network, changed)]
    groups = trainer.optimizer.param_groups
    assert [(group["base"], group["weight_decay"]) for group in groups] == wanted
    assert {7e-3, 5e-3} == {rate for rate, _ in wanted} and {0.0, 0.3} == {decay for _, decay in wanted}
    assert [group["lr"] / group["base"] for group in groups] == [groups[0]["lr"] / 5e-3] * len(groups)


def test_another_network_is_not_resumed(data: Path, tmp_path: Path) -> None:
    path = tiny_trainer(data, tmp_path, replace(RECIPE, steps=1)).run(lambda *_: None)
    with pytest.raises(CheckpointError, match="does not continue this run"):
        tiny_trainer(data, tmp_path, RECIPE, maps=24).resume(path)


def test_the_state_is_plain_json(data: Path, tmp_path: Path) -> None:
    tiny_trainer(data, tmp_path, replace(RECIPE, steps=1)).run(lambda *_: None)
    state = json.loads((tmp_path / "last" / "state.json").read_text())
    assert state["combo"] == "tiny" and state["step"] == 1 and state["recipe"]["batch"] == 2
