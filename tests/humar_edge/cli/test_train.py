"""`humar-edge train` from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from tiny_training import write_people  # noqa: E402

from humar_edge.cli.main import group, main  # noqa: E402
from humar_edge.models.text.encoder import TransformerTextEncoder  # noqa: E402
from humar_edge.models.text.loading import body_from_config  # noqa: E402
from humar_edge.models.tokenizer import small_tokenizer  # noqa: E402
from humar_edge.training import checkpoint  # noqa: E402
from humar_edge.training.build import load_network  # noqa: E402

SMALL = "--combo tite-ultra-light --backbone efficientnet_lite0 --from-scratch --imgsz 64 --batch 2 --accumulate 1"
QUICK = f"{SMALL} --val-limit 4 --device cpu --threads 1 --warmup 0 --recipe short"


def arguments(data: Path, output: Path, more: str) -> list[str]:
    return ["train", "--data", str(data), "--output", str(output), *f"{QUICK} {more}".split()]


def small_bert(folder: Path) -> dict[str, Any]:
    """Write a text encoder with dropout and random weights, and return these."""
    tokenizer = small_tokenizer()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    rows = max(tokenizer.get_vocab().values()) + 1
    config = {"model_type": "bert", "vocab_size": rows, "max_position_embeddings": 40, "hidden_dropout_prob": 0.5}
    encoder = TransformerTextEncoder(body_from_config(config | sizes), tokenizer, "mean")
    encoder.text_backbone.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return encoder.state_dict()


def run(data: Path, output: Path, more: str) -> str:
    done = CliRunner().invoke(group, arguments(data, output, more), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_a_run_its_continuation_and_a_student(tmp_path: Path) -> None:
    data, output = write_people(tmp_path / "data"), tmp_path / "run"
    said = run(data, output, "--steps 2 --val-every 1 --keep 2 --save-every 1")
    assert "recipe short" in said and "2 steps of 2 pictures" in said and "validation box_Acc@0.5" in said
    assert {"last", "best", "log.jsonl", "step-00000001", "tensorboard"} <= {path.name for path in output.iterdir()}
    state = checkpoint.read_state(output / "last")
    assert state["combo"] == "tite-ultra-light" and state["text_encoder"]["kind"] == "tite"
    assert "overall" in state["metrics"]["validation"] and 0 < state["thresholds"]["score"] < 1
    assert "metrics" in checkpoint.read_state(output / "best")
    assert state["fixed_backbone"] is False and state["format"] == checkpoint.FORMAT
    assert "optimizer.pt" not in {path.name for path in (output / "best").iterdir()}
    said = run(data, output, "--steps 3 --val-every 0 --prompt-mix text=1,point=1 --paste 0.9 --foreign-negatives 0.9")
    assert "at step 2" in said and "trained 3 steps" in said
    said = run(
        data, tmp_path / "student", f"--steps 1 --val-every 0 --teacher {output / 'last'} --bf16 --no-tensorboard"
    )
    assert "trained 1 steps" in said and not (tmp_path / "student" / "tensorboard").exists()
    network, loaded = load_network(output / "last")
    assert network.text_encoder.tokenizer.token_to_id("clothes") is not None and loaded["step"] == 3
    assert all("val" in json.loads(line) or "loss" in line for line in (output / "log.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_the_checkpoint_holds_a_frozen_text_encoder_from_a_folder(tmp_path: Path) -> None:
    data, output, folder = write_people(tmp_path / "data"), tmp_path / "run", tmp_path / "encoder"
    encoder = small_bert(folder)
    more = "--combo edge-lite --val-every 0 --no-tensorboard"
    run(data, output, f"{more} --steps 1 --text-source {folder}")
    assert checkpoint.read_state(output / "last")["text_encoder"]["kind"] == "transformer"
    run(data, output, f"{more} --steps 2 --text-source {folder}")
    (tmp_path / "encoder").rename(tmp_path / "gone")
    run(data, output, f"{more} --steps 3")
    run(data, tmp_path / "more", f"{more} --steps 1 --init {output / 'last'}")
    for path, steps in ((output / "last", 3), (tmp_path / "more" / "last", 1)):
        network, state = load_network(path)
        found = network.text_encoder.state_dict()
        assert state["step"] == steps and found.keys() == encoder.keys()
        assert all(torch.equal(value, encoder[name]) for name, value in found.items())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_saves_and_exits_with_130(tmp_path: Path) -> None:
    data, output = write_people(tmp_path / "data", splits=("train",)), tmp_path / "run"
    more = "--steps 100000 --save-every 1 --workers 1"
    command = [sys.executable, "-m", "humar_edge", *arguments(data, output, more)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        give_up = time.monotonic() + 240
        while not (output / "last").exists() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: workers get it too
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "SIGINT: stopped at step" in said and "the same command continues" in said
    checkpoint.verify(output / "last")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("--batch 0", "error: --batch 0: must be at least 1"),
        ("--prompt-mix voice=1", "error: --prompt-mix voice=1: write it as"),
        ("--freeze-text", "error: --freeze-text: text encoder 'tite'"),
        ("--precision fp16", "error: fp16 trains on GPUs only"),
        ("--teacher nowhere", "error: --teacher nowhere: no such checkpoint folder"),
        ("--epochs inf", "error: --epochs inf: must be at most"),
        ("--seed 20260101120000", "error: --seed 20260101120000: must be at most 4294967295"),
        ("--output data/RefHuman_train.json", "error: --output data/RefHuman_train.json: data/RefHuman_train.json is"),
        ("--init nowhere", "error: nowhere is not a checkpoint folder"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, more: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_people(tmp_path / "data", pictures=1, splits=("train",))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["humar-edge", *arguments(data, tmp_path / "run", more)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    said = capsys.readouterr().err
    assert exit_info.value.code == 2 and said.startswith(line) and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "nothing is left behind"
