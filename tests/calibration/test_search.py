"""Blocks, the greedy search on made-up figures, and both on a real (untrained) network."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers", "faster_coco_eval"):
    pytest.importorskip(needed)

from light_checkpoint import write_light_checkpoint  # noqa: E402
from tiny_training import write_people  # noqa: E402

from humar_edge.calibration.blocks import blocks_of  # noqa: E402
from humar_edge.calibration.search import greedy  # noqa: E402
from humar_edge.calibration.sensitivity import Damage  # noqa: E402
from humar_edge.calibration.workbench import Measured  # noqa: E402
from humar_edge.cli.calibrate import command  # noqa: E402
from humar_edge.errors import ConfigError, DataError  # noqa: E402
from humar_edge.export.plan import Plan, plan_of  # noqa: E402

FLOAT_MS = 20.0


def measured(drop: float, milliseconds: float, not_finite: int = 0) -> Measured:
    return Measured({"mIoU": 0.8 - drop}, {"mIoU": drop}, {}, milliseconds, FLOAT_MS, not_finite)


def network_of(costs: dict[str, tuple[float, float]]):
    """Damages and a `measure` for a network whose blocks lose (drop) and save (ms) independently of each other."""
    damages = [Damage(block, 1, measured(drop, FLOAT_MS - gain)) for block, (drop, gain) in costs.items()]

    def measure(plan: Plan) -> Measured:
        inside = [block for block, precision in plan.blocks.items() if precision == "int8"]
        return measured(sum(costs[block][0] for block in inside), FLOAT_MS - sum(costs[block][1] for block in inside))

    return damages, measure


def int8(plan: Plan) -> set[str]:
    return {block for block, precision in plan.blocks.items() if precision == "int8"}


def test_everything_stays_int8_when_it_passes():
    damages, measure = network_of({"a": (0.001, 2), "b": (0.002, 3)})
    plan, found, trials = greedy(damages, measure)
    assert int8(plan) == {"a", "b"} and len(trials) == 1 and found is not None and found.milliseconds == 15
    assert (plan.name, plan.default) == ("auto", "fp32")


def test_the_most_damage_per_millisecond_moves_first():
    # b loses more than c, but saves far more time.
    damages, measure = network_of({"a": (0.001, 5), "b": (0.008, 8), "c": (0.006, 0.5)})
    plan, found, _ = greedy(damages, measure)
    assert int8(plan) == {"a", "b"} and plan.blocks["c"] == "fp32"
    assert found is not None and found.passes(0.01)


def test_blocks_moved_for_nothing_come_back():
    # x is dear per millisecond and goes first, but only y breaks the limit; x fits again once y is out.
    damages, measure = network_of({"x": (0.004, 0.05), "y": (0.03, 1.0), "z": (0.001, 4.0)})
    plan, found, trials = greedy(damages, measure)
    assert int8(plan) == {"x", "z"} and [trial.passed for trial in trials] == [False, False, True, True]
    assert found is not None and found.milliseconds == pytest.approx(FLOAT_MS - 4.05)


def test_a_limit_that_nothing_meets_gives_a_plan_without_int8():
    damages, measure = network_of({"a": (0.5, 5), "b": (0.5, 5)})
    plan, found, _ = greedy(damages, measure, rest="fp16")
    assert found is None and plan == Plan({}, "fp16", "auto")


def test_blocks_that_int8_slows_down_go_to_float():
    damages, measure = network_of({"a": (0.001, 5), "slow": (0.0, -2.0), "slower": (0.0, -3.0)})
    plan, found, trials = greedy(damages, measure)
    assert int8(plan) == {"a"} and [len(trial.int8) for trial in trials] == [3, 2, 1]
    assert found is not None and found.milliseconds == 15


def test_int8_that_saves_no_time_is_given_up():
    damages, measure = network_of({"a": (0.001, -1), "b": (0.0, -2.0)})
    said: list[str] = []
    plan, found, _ = greedy(damages, measure, say=said.append)
    assert found is None and plan == Plan({}, "fp32", "auto") and "saves no time" in said[-1]


def test_not_a_number_never_passes():
    assert not measured(-1.0, 1.0, not_finite=1).passes(100)
    # A drop of exactly the limit does.
    assert measured(0.8 - 0.79, 1.0).passes(0.01)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_light_checkpoint(tmp_path_factory.mktemp("run") / "last")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), pictures=8)


def run(*arguments):
    return CliRunner().invoke(command, ["--sensitivity", *(str(argument) for argument in arguments)])


def test_a_real_network(checkpoint, data, tmp_path):
    plan_file, cache = tmp_path / "plan.json", tmp_path / "cache"
    common = ("--checkpoint", checkpoint, "--calibration", data, "--data", data, "--depth", 0, "--limit", 6)
    options = ("--backend", "onnxruntime", "--threads", 1, "--calibration-images", 8, "--calibration-cache", cache)
    result = run(*common, *options, "--max-drop", 1, "--output", plan_file)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "one block in INT8" in result.output and "next: humar-edge" in result.output
    plan = plan_of(str(plan_file))
    assert plan.name == "auto" and plan.default == "fp32"
    evidence = json.loads(plan_file.read_text())["measured"]
    assert evidence["prompts"] == 6 and evidence["backend"] == "onnxruntime"
    # Whether INT8 is faster depends on the machine; what it says must fit what it does.
    assert ("plan" in evidence) == plan.uses("int8") and evidence["trials"][0]["int8"] == 4
    rows = {row["block"]: row for row in evidence["sensitivity"]}
    assert set(rows) == {"backbone", "neck", "transformer/fusion", "transformer/instance"}
    assert all(row["nodes"] > 0 for row in rows.values())
    assert all(row["outputs"]["mask"]["max"] > 0 for row in rows.values())
    assert (cache / "calibration-vision.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "plan.json"]


def test_a_killed_search_leaves_no_plan(checkpoint, data, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("humar_edge.calibration.search.measure_sensitivity", killed)
    common = ("--checkpoint", checkpoint, "--calibration", data, "--data", data, "--limit", 6)
    plan = tmp_path / "plan.json"
    result = run(*common, "--calibration-images", 8, "--backend", "onnxruntime", "--output", plan)
    assert result.exit_code != 0 and not list(tmp_path.iterdir())
    assert "prompts is worth" in result.output


def test_bad_input(checkpoint, data, tmp_path):
    common = ("--checkpoint", checkpoint, "--data", data)
    missing = run(*common)
    assert isinstance(missing.exception, ConfigError) and "--calibration" in str(missing.exception)
    assert isinstance(run(*common, "--calibration", tmp_path).exception, DataError)
    assert isinstance(run(*common, "--calibration", data, "--output", tmp_path).exception, ConfigError)
    assert run(*common, "--calibration", data, "--max-drop", -1).exit_code == 2


def test_blocks_cover_all_that_int8_reaches_once(checkpoint):
    from humar_edge.combos import resolve
    from humar_edge.export.engines import vision_engine
    from humar_edge.export.int8 import quantizable
    from humar_edge.export.plan import PLANS
    from humar_edge.export.source import open_source
    from humar_edge.export.to_onnx import to_onnx

    source = open_source("tite-ultra-light", resolve("tite-ultra-light", backbone="efficientnet_lite0"), checkpoint)
    model = to_onnx(vision_engine(source))
    everything = quantizable(model, PLANS["int8"])
    parts = {depth: blocks_of(model, depth) for depth in (0, 1, 2)}
    assert [sum(blocks.values()) for blocks in parts.values()] == [len(everything)] * 3
    assert len(parts[0]) < len(parts[1]) < len(parts[2])
    assert "backbone/body/blocks.3" in parts[1]
    for blocks in parts.values():
        alone = [set(quantizable(model, Plan({block: "int8"}, "fp32"))) for block in blocks]
        assert set().union(*alone) == set(everything) and sum(map(len, alone)) == len(everything)
        assert [len(nodes) for nodes in alone] == list(blocks.values())
