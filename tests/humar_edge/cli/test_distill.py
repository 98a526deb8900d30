"""`humar-edge distill`, with real components for a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")

from light_checkpoint import COMBO, write_light_checkpoint
from tiny_training import write_people

from humar_edge.cli.distill import command
from humar_edge.errors import CheckpointError, ConfigError
from humar_edge.training import checkpoint
from humar_edge.training.build import load_network


def distill(teacher: Path, data: Path, output: Path, *more: str) -> Any:
    limits = [f"--{stage}-steps=2" for stage in ("text", "vision", "joint")]
    sizes = ["--batch=2", "--val-limit=6", "--device=cpu", "--threads=1", "--save-every=1"]
    arguments = [f"--teacher={teacher}", f"--data={data}", f"--output={output}", *limits, *sizes, *more]
    return command.main(arguments, standalone_mode=False)


@pytest.mark.slow
def test_a_student_of_other_encoders_and_its_continuation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, data = write_light_checkpoint(tmp_path / "teacher"), write_people(tmp_path / "data")
    distill(teacher, data, tmp_path / "run", "--combo=ultra-light", "--joint-minutes=0")
    said = capsys.readouterr().out
    assert "cosine with the teacher" in said and "teacher: box_Acc@0.5" in said and "student: box_Acc@0.5" in said
    state = checkpoint.read_state(tmp_path / "run" / "last")
    assert state["combo"] == "ultra-light" and state["stage"] == "vision" and state["step"] == 2
    student, _ = load_network(tmp_path / "run" / "last")
    master, _ = load_network(teacher)
    assert student.text_encoder.dim == 312 and student.transformer.channels == master.transformer.channels
    theirs = master.transformer.state_dict()
    for key, value in student.transformer.state_dict().items():
        assert key.startswith(("neck.", "text.", "score_")) or (value == theirs[key]).all(), key
    # the same command with one more stage passes over those that are complete
    distill(teacher, data, tmp_path / "run", "--combo=ultra-light")
    state = checkpoint.read_state(tmp_path / "run" / "last")
    assert state["stage"] == "joint" and "validation" in state["metrics"]
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in steps if "stage" in line] == ["teacher", "student"] * 2


@pytest.mark.slow
def test_the_same_text_encoder_is_kept(tmp_path: Path) -> None:
    teacher, data = write_light_checkpoint(tmp_path / "teacher"), write_people(tmp_path / "data")
    distill(teacher, data, tmp_path / "run", f"--combo={COMBO}", "--backbone=mobilevit_xxs", "--joint-minutes=0")
    assert not (tmp_path / "run" / "text").exists()
    (student, _), (master, _) = load_network(tmp_path / "run" / "last"), load_network(teacher)
    theirs = master.text_encoder.state_dict() | master.transformer.text.state_dict()
    ours = student.text_encoder.state_dict() | student.transformer.text.state_dict()
    assert all((value == theirs[key]).all() for key, value in ours.items())


def test_who_cannot_teach(tmp_path: Path) -> None:
    teacher, data = write_light_checkpoint(tmp_path / "teacher"), write_people(tmp_path / "data")
    with pytest.raises(ConfigError, match="light network of the same family") as caught:
        distill(teacher, data, tmp_path / "run", "--combo=efficient-balanced")
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        distill(tmp_path, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_output_that_is_a_file_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    teacher, data = write_light_checkpoint(tmp_path / "teacher"), tmp_path / "data"
    (teacher / checkpoint.AVERAGE).unlink()
    data.mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="file is not a folder; give another --output"):
        distill(teacher, data, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_the_same_backbone_is_kept(tmp_path: Path) -> None:
    teacher, data = write_light_checkpoint(tmp_path / "teacher"), write_people(tmp_path / "data")
    parts = ["--combo=ultra-light", "--backbone=efficientnet_lite0", "--joint-minutes=0"]
    distill(teacher, data, tmp_path / "run", *parts)
    (student, state), (master, _) = load_network(tmp_path / "run" / "last"), load_network(teacher)
    assert state["stage"] == "vision" and state["step"] == 0
    for part in ("backbone", "transformer.neck", "transformer.people", "transformer.selection"):
        theirs = master.get_submodule(part).state_dict()
        assert all((value == theirs[key]).all() for key, value in student.get_submodule(part).state_dict().items())
