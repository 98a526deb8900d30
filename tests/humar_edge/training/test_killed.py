"""Kill -9 in the middle of a checkpoint write: the last good one counts."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from humar_edge.errors import CheckpointError  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402

PARTS = ((checkpoint, "save_file"), (torch, "save"), (os, "fsync"), (Path, "rename"), (shutil, "rmtree"))
"""What a save is made of."""


def write(path: Path, step: int) -> None:
    network = torch.nn.Linear(4, 4)
    torch.nn.init.constant_(network.weight, step)
    optimizer = torch.optim.AdamW(network.parameters())
    checkpoint.save(path, network, network.state_dict(), optimizer, {"step": step}, keep=2)


def count_calls(die_at: int | None) -> list[str]:
    """Note every call of `PARTS` from now on; the process kills itself before call number `die_at`."""
    calls: list[str] = []

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    for owner, name in PARTS:
        setattr(owner, name, counting(name, getattr(owner, name)))
    return calls


def write_and_die(path: Path, die_at: int) -> int:
    """In another process: two saves, and a third that is killed. Returns the status of the process."""
    process = os.fork()
    if process == 0:
        try:
            write(path, 1)
            write(path, 2)
            count_calls(die_at)
            write(path, 3)
        finally:
            os._exit(0)
    return os.waitpid(process, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whenever_the_writer_dies_a_whole_checkpoint_is_left(tmp_path: Path) -> None:
    steps = []
    for die_at in range(1, 100):
        path = tmp_path / str(die_at) / "last"
        status = write_and_die(path, die_at)
        found = checkpoint.candidates(path)[0]
        checkpoint.verify(found)
        step = checkpoint.read_state(found)["step"]
        assert torch.equal(checkpoint.read_weights(found)["weight"], torch.full((4, 4), float(step)))
        assert checkpoint.read_state(path)["step"] == step
        steps.append(step)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        # the next run cleans up and writes on
        checkpoint.clean(path)
        write(path, 9)
        assert checkpoint.read_state(path)["step"] == 9
        assert not list(path.parent.glob("*.tmp")) and not path.with_name("last.old").exists()
    assert len(steps) > 12 and steps == sorted(steps) and set(steps) == {2, 3}


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    from tiny_training import tiny_trainer, write_people

    from humar_edge.training.recipes import Recipe
    from humar_edge.training.session import resume

    data = write_people(tmp_path / "data", splits=("train",))
    recipe = Recipe(batch=2, steps=4, save_every=2, keep=2)
    tiny_trainer(data, tmp_path / "run", replace(recipe, steps=5)).run(lambda *_: None)
    weights = tmp_path / "run" / "last" / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    told: list[str] = []

    class Console:
        def print(self, text: str, **_: Any) -> None:
            told.append(text)

    trainer = tiny_trainer(data, tmp_path / "run", recipe)
    resume(trainer, Console())  # type: ignore[arg-type]
    assert trainer.step == 4 and "damaged" in told[0] and "step-00000004" in told[1]
    shutil.rmtree(tmp_path / "run" / "step-00000004")
    with pytest.raises(CheckpointError, match="cannot be read"):
        resume(trainer, Console())  # type: ignore[arg-type]
    assert os.path.isdir(tmp_path / "run" / "last")
