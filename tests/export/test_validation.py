"""Reduced precision must prove itself, and `--precision auto` finds a plan: both on a real, small checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers", "faster_coco_eval"):
    pytest.importorskip(needed)

from click.testing import CliRunner  # noqa: E402
from light_checkpoint import COMBO, write_light_checkpoint  # noqa: E402
from tiny_training import write_people  # noqa: E402

from humar_edge.bundle import Bundle  # noqa: E402
from humar_edge.calibration import search  # noqa: E402
from humar_edge.calibration.blocks import blocks_of  # noqa: E402
from humar_edge.cli.export import command  # noqa: E402
from humar_edge.data.refhuman import RefHumanIndex  # noqa: E402
from humar_edge.errors import ConfigError, DataError, ExportError  # noqa: E402
from humar_edge.export import automatic, validation  # noqa: E402
from humar_edge.export.plan import plan_of  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_light_checkpoint(tmp_path_factory.mktemp("run") / "last")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), pictures=8)


@pytest.fixture
def run(checkpoint):
    def start(*arguments):
        common = ["--combo", COMBO, "--backbone", "efficientnet_lite0", "--checkpoint", checkpoint]
        return CliRunner().invoke(command, [str(argument) for argument in (*common, *arguments)])

    return start


def test_reduced_precision_without_proof_is_refused(run, data, tmp_path):
    for options in (("--precision", "fp16"), ("--text-precision", "int8")):
        for extra, reason in (((), "there is no --val-data"), (("--val-data", data), "gives 24 prompts")):
            result = run(*options, *extra, "--output", tmp_path / "b")
            assert isinstance(result.exception, ConfigError), result.output
            assert reason in str(result.exception) and "--unverified" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_unverified_says_so(run, data, tmp_path):
    result = run("--text-precision", "fp16", "--unverified", "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    assert any("unverified" in note for note in Bundle.load(tmp_path / "b").manifest.notes)


def test_the_comparison_is_in_the_manifest(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "LEAST", 20)
    options = ("--precision", "fp16", "--val-data", data)
    result = run(*options, "--max-drop", 1, "--report", tmp_path / "page", "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    found = Bundle.load(tmp_path / "b").manifest.metrics["export"]
    assert found["compared"] == 24 and found["backend"] == "onnxruntime" and found["max_drop"] == 1
    assert set(found["drops"]) == {"OKS-AP", "Acc@0.5", "mIoU", "mean OKS", "AUROC"}
    assert set(found["outputs"]) == {"score", "box", "keypoints", "visibility", "mask"}
    assert (tmp_path / "page" / "index.html").is_file()
    worse = run(*options, "--max-drop", -2, "--output", tmp_path / "worse")
    assert isinstance(worse.exception, ExportError) and "costs too much" in str(worse.exception)
    assert "OKS-AP" in str(worse.exception) and "mean OKS" not in str(worse.exception)
    assert not (tmp_path / "worse").exists()


def test_prompts_that_cannot_be_read_prove_nothing(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "LEAST", 20)
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    entries = RefHumanIndex.load(damaged, "val").entries
    for picture in sorted({entry.image_path for entry in entries})[:5]:
        picture.write_bytes(b"no picture")
    options = ("--text-precision", "fp16", "--val-data", damaged, "--max-drop", 1)
    refused = run(*options, "--output", tmp_path / "b")
    assert isinstance(refused.exception, ExportError) and "of 24 prompts" in str(refused.exception)
    assert not (tmp_path / "b").exists()
    taken = run(*options, "--unverified", "--output", tmp_path / "b")
    assert taken.exit_code == 0, (taken.output, taken.exception)
    assert any("unverified" in note for note in Bundle.load(tmp_path / "b").manifest.notes)


def test_auto_needs_data_to_measure_on(run, tmp_path):
    result = run("--precision", "auto", "--output", tmp_path / "b")
    assert isinstance(result.exception, ConfigError) and "--val-data" in str(result.exception)


@pytest.mark.slow
def test_auto_stores_the_plan_that_it_found(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "LEAST", 8)
    monkeypatch.setattr(automatic, "SEARCHED", 10)
    # Whole parts are enough: finer blocks mean thirty engines to compile. How these are cut, test_search.py checks.
    monkeypatch.setattr(search, "blocks_of", lambda model, depth: blocks_of(model, 0))
    common = ("--val-data", data, "--val-limit", 12, "--calibration", data, "--calibration-images", 8, "--max-drop", 1)
    result = run("--precision", "auto", *common, "--output", tmp_path / "b")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "searching the plan on 10 prompts\n" in result.output
    bundle = Bundle.load(tmp_path / "b")
    stored = bundle.path / automatic.PLAN_FILE
    assert automatic.PLAN_FILE in bundle.manifest.files
    plan, evidence = plan_of(str(stored)), json.loads(stored.read_text())["measured"]
    assert plan.name == "auto" and evidence["prompts"] == 10 and evidence["trials"]
    # Whether INT8 saves time depends on the machine; what the bundle says must fit the plan.
    if plan.uses("int8"):
        assert bundle.manifest.precision["vision"] == "auto"
        assert bundle.manifest.parity["vision"]["auto"]["plan"]["blocks"] == dict(plan.blocks)
    else:
        assert bundle.manifest.precision["vision"] == "fp32"
    again = run("--precision", stored, *common, "--output", tmp_path / "again")
    assert again.exit_code == 0, (again.output, again.exception)
    assert Bundle.load(tmp_path / "again").manifest.precision == bundle.manifest.precision


@pytest.mark.parametrize("damage", ["empty", "unreadable", "other", "few"])
def test_bad_calibration_data(run, data, tmp_path, damage):
    folder = tmp_path / "calibration"
    if damage == "unreadable":
        folder.mkdir()
        (folder / "RefHuman_train.json").write_bytes(b"\xff\x00{")
    elif damage == "other":
        folder.mkdir()
        (folder / "RefHuman_train.json").write_text('{"videos": []}')
        (folder / "images").mkdir()
    elif damage == "few":
        write_people(folder, pictures=3)
    else:
        folder.mkdir()
    options = (
        "--precision",
        "int8",
        "--unverified",
        "--calibration",
        folder,
        "--calibration-cache",
        tmp_path / "cache",
    )
    result = run(*options, "--output", tmp_path / "b")
    assert isinstance(result.exception, DataError), (result.output, result.exception)
    assert "\n" not in str(result.exception) and str(folder) in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calibration"]


def test_a_killed_calibration_leaves_no_cache(run, data, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("humar_edge.calibration.ranges.Histogram.update", killed)
    options = ("--precision", "int8", "--unverified", "--calibration", data, "--calibration-images", 8)
    result = run(*options, "--calibration-cache", tmp_path / "cache", "--output", tmp_path / "b")
    assert result.exit_code != 0 and not list(tmp_path.iterdir())
