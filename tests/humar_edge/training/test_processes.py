"""Several processes see together what one process with the whole batch sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

SUPPORT = Path(__file__).resolve().parents[2] / "support"
LAUNCH = (
    "from humar_edge.models.torchvision_guard import guard_torchvision; guard_torchvision(); "
    "from accelerate.commands.accelerate_cli import main; main()"
)
"""`accelerate`, importable beside a torchvision that is not."""
STEPS = 6


def run(arguments: list[str], *command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(tmp_path: Path) -> None:
    from tiny_training import write_people

    data = write_people(tmp_path / "data", splits=("train",))
    script = str(SUPPORT / "tiny_training.py")
    run([script, str(data), str(tmp_path / "one"), "4", str(STEPS)], sys.executable)
    launcher = [
        sys.executable,
        "-c",
        LAUNCH,
        "launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    run([script, str(data), str(tmp_path / "two"), "2", str(STEPS)], *launcher)
    one, two = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["losses"]) == len(two["losses"]) == STEPS
    for alone, together in zip(one["losses"], two["losses"], strict=True):
        assert together == pytest.approx(alone, rel=2e-4, abs=2e-5)
    assert one["losses"][0]["loss"] != pytest.approx(one["losses"][-1]["loss"], rel=1e-3)
