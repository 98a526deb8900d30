"""Refitting the presence score of a checkpoint: in place, elsewhere, and when something is wrong."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
pytest.importorskip("timm")
pytest.importorskip("transformers")

from light_checkpoint import write_light_checkpoint  # noqa: E402
from tiny_training import write_people  # noqa: E402

from humar_edge.calibration.presence import SCALE, SHIFT, refit  # noqa: E402
from humar_edge.cli.calibrate import command  # noqa: E402
from humar_edge.errors import ConfigError, DataError  # noqa: E402
from humar_edge.training import checkpoint as storage  # noqa: E402


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def checkpoint(tmp_path):
    return write_light_checkpoint(tmp_path / "run" / "last")


def test_in_place_changes_the_score_and_nothing_else(checkpoint, data):
    before = {name: storage.read_weights(checkpoint, name) for name in (storage.WEIGHTS, storage.AVERAGE)}
    optimizer = (checkpoint / storage.OPTIMIZER).read_bytes()
    result = run("--presence", "--checkpoint", checkpoint, "--data", data, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.output.splitlines()[-1])
    assert (found["prompts"], found["absent"]) == (18, 6)
    # A monotone map leaves the order of scores alone (a fit that nothing supports may flatten them).
    assert found["after"]["AUROC"] == pytest.approx(found["before"]["AUROC"], abs=0.02)
    assert found["after"]["ECE"] <= found["before"]["ECE"] + 0.01
    assert found["after"]["F1"] >= found["before"]["F1"] and found["after"]["threshold"] == found["threshold"]
    for name, old in before.items():
        new = storage.read_weights(checkpoint, name)
        assert float(new[SCALE]) == pytest.approx(found["scale"]) and float(new[SHIFT]) == pytest.approx(found["shift"])
        assert all(torch.equal(new[key], old[key]) for key in old if key not in (SCALE, SHIFT))
    assert storage.read_state(checkpoint)["thresholds"]["score"] == found["threshold"]
    assert (checkpoint / storage.OPTIMIZER).read_bytes() == optimizer
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last"]


def test_what_is_reported_is_what_the_checkpoint_then_does(checkpoint, data):
    first = refit(checkpoint, data)
    (side, _) = storage.read_state(checkpoint)["input_size"]
    again = refit(checkpoint, data, side=side)
    assert again.before == pytest.approx(first.after, abs=2e-3)
    assert (again.fit.scale, again.fit.shift) == pytest.approx((first.fit.scale, first.fit.shift), abs=1e-3)


def test_another_folder_and_another_size(checkpoint, data, tmp_path):
    output = tmp_path / "calibrated"
    stamp = (checkpoint / storage.AVERAGE).read_bytes()
    result = run("--checkpoint", checkpoint, "--data", data, "--imgsz", 96, "--output", output, "--limit", 12)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "before: AUROC" in result.output and "ECE" in result.output
    assert storage.read_state(output)["input_size"] == [96, 96]
    assert (checkpoint / storage.AVERAGE).read_bytes() == stamp
    from humar_edge.training.build import load_network

    assert load_network(output)[0].text_encoder is not None
    again = run("--checkpoint", checkpoint, "--data", data, "--output", output)
    assert isinstance(again.exception, ConfigError) and "exists" in str(again.exception)


def test_refusals_leave_the_checkpoint_alone(checkpoint, data, tmp_path, monkeypatch):
    stamp = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    for options in (("--imgsz", 96), ("--imgsz", 100), ("--backend", "openvino")):
        assert isinstance(run("--checkpoint", checkpoint, "--data", data, *options).exception, ConfigError), options
    content = json.loads((data / "RefHuman_val.json").read_text())
    there = {item["id"] for item in content["annotations"] if not item.get("absent")}
    for part, key in (("annotations", "id"), ("images", "id")):
        content[part] = [item for item in content[part] if item[key] in there]
    (data / "RefHuman_present.json").write_text(json.dumps(content))
    nobody = run("--checkpoint", checkpoint, "--data", data, "--split", "present")
    assert isinstance(nobody.exception, DataError) and "absent" in str(nobody.exception)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("humar_edge.calibration.presence.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        refit(checkpoint, data)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == stamp
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last"]
