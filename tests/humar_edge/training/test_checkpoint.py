"""Reading checkpoints: interrupted writers, damaged files, hostile files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from humar_edge.errors import CheckpointError  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402

FILES = (checkpoint.WEIGHTS, checkpoint.AVERAGE, checkpoint.OPTIMIZER, checkpoint.STATE)


def write(path: Path, step: int, keep: int | None = None) -> None:
    network = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(network.weight, step)
    network(torch.ones(1, 3)).sum().backward()
    optimizer = torch.optim.AdamW(network.parameters())
    optimizer.step()
    average = {key: value.detach() + 1 for key, value in network.state_dict().items()}
    checkpoint.save(path, network, average, optimizer, {"step": step, "combo": "edge-lite"}, keep=keep)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write(tmp_path / "last", 4)
    return tmp_path / "last"


def test_what_is_written_is_read(saved: Path) -> None:
    checkpoint.verify(saved)
    assert sorted(file.name for file in saved.iterdir()) == sorted(FILES)
    assert checkpoint.read_state(saved) == {"format": checkpoint.FORMAT, "step": 4, "combo": "edge-lite"}
    weights, average = checkpoint.read_weights(saved, checkpoint.WEIGHTS), checkpoint.read_weights(saved)
    torch.testing.assert_close(average["weight"], weights["weight"] + 1)
    optimizer = torch.optim.AdamW(torch.nn.Linear(3, 2).parameters())
    optimizer.load_state_dict(checkpoint.read_optimizer(saved))
    assert all(state["step"] == 1 for state in optimizer.state.values())


def test_one_without_history_leaves_that_of_its_neighbour_alone(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        write(tmp_path / "last", step, keep=3)
    for step in (4, 6):
        write(tmp_path / "best", step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "step-00000002", "step-00000004"]
    assert checkpoint.read_state(tmp_path / "best")["step"] == 6
    write(tmp_path / "last", 8, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written: Not a directory"):
        write(tmp_path / "file" / "last", 1)


def test_the_current_folder_may_be_a_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    assert checkpoint.read_state(Path("."))["step"] == 4


def test_between_two_renames_the_old_one_counts(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        write(saved, 5)
    monkeypatch.undo()
    assert not saved.exists()
    assert checkpoint.locate(saved) == saved.with_name("last.old")
    assert checkpoint.read_state(saved)["step"] == 4
    torch.testing.assert_close(checkpoint.read_weights(saved)["weight"], torch.full((2, 3), 5.0), atol=0.01, rtol=0)
    checkpoint.verify(saved)
    assert checkpoint.candidates(saved) == [saved.with_name("last.old")]
    checkpoint.clean(saved)
    assert [folder.name for folder in saved.parent.iterdir()] == ["last.old"]
    write(saved, 6)
    assert checkpoint.read_state(saved)["step"] == 6 and not saved.with_name("last.old").exists()


def test_a_writer_that_dies_before_the_renames_changes_nothing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="no space"):
        write(saved, 5)
    monkeypatch.undo()
    assert checkpoint.read_state(saved)["step"] == 4
    checkpoint.clean(saved)
    assert [folder.name for folder in saved.parent.iterdir()] == ["last"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "gone"])
def test_damaged_files_are_refused_in_one_line(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": content[: len(content) // 2], "empty": b"", "noise": np.random.default_rng(0).bytes(300)}[damage]
        )
    with pytest.raises(CheckpointError) as error:
        checkpoint.verify(saved)
    assert "last" in str(error.value) and len(str(error.value).splitlines()) == 1


def test_whatever_an_optimizer_file_holds_is_refused_the_same_way(saved: Path) -> None:
    for seed in range(200):
        (saved / checkpoint.OPTIMIZER).write_bytes(np.random.default_rng(seed).bytes(300))
        with pytest.raises(CheckpointError):
            checkpoint.read_optimizer(saved)


def test_a_folder_without_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        checkpoint.read_state(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"step": 4}', "has format 1, this version reads 3: train it again, its boxes"),
        ('{"step": 4, "format": 2}', "has format 2, this version reads 3: train it again, it chose among cells"),
        ('{"step": 4, "format": 4}', "has format 4, this version reads 3: update humar-edge"),
        ('{"step": 4, "format": []}', "has format [], this version reads 3: update humar-edge"),
        ("[]", "no readable state.json"),
    ],
)
def test_weights_of_another_meaning_are_refused_in_one_line(saved: Path, content: str, message: str) -> None:
    (saved / checkpoint.STATE).write_text(content)
    for read in (checkpoint.read_state, checkpoint.read_weights, checkpoint.verify):
        with pytest.raises(CheckpointError) as error:
            read(saved)
        assert message in str(error.value) and len(str(error.value).splitlines()) == 1


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
@pytest.mark.parametrize("name", [checkpoint.OPTIMIZER, checkpoint.WEIGHTS, checkpoint.AVERAGE])
def test_no_code_of_a_checkpoint_is_run(saved: Path, name: str, writer: str) -> None:
    proof = saved.parent / "executed"
    if writer == "torch":
        torch.save({"state": Hostile(proof)}, saved / name)
    else:
        (saved / name).write_bytes(pickle.dumps(Hostile(proof), protocol=2))
    with pytest.raises(CheckpointError) as error:
        checkpoint.verify(saved)
    assert "weights_only" not in str(error.value), "PyTorch's own text advises to run the code"
    assert not proof.exists()
