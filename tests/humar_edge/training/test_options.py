"""Options that cannot be give one clear line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from permissions import locked  # noqa: E402

from humar_edge.errors import ConfigError  # noqa: E402
from humar_edge.training.machine import open_accelerator  # noqa: E402
from humar_edge.training.options import MOST, check, precision_of, prompt_mix  # noqa: E402
from humar_edge.training.texts import is_trained  # noqa: E402

GOOD = {"imgsz": 64, "minutes": math.inf, "recipe": "auto"}


def test_good_options_pass(tmp_path: Path) -> None:
    check(GOOD | {"batch": None, "steps": 5, "paste": 0.0, "folders": [tmp_path], "teacher": tmp_path})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imgsz": 100}, "--imgsz 100: must be a multiple of 32"),
        ({"imgsz": 32}, "at least 64"),
        ({"batch": 0}, "--batch 0: must be at least 1"),
        ({"val_every": -1}, "--val-every -1"),
        ({"rate": math.nan}, "--rate nan"),
        ({"epochs": math.inf}, "--epochs inf: must be at most 1000000000"),
        ({"epochs": math.nan}, "--epochs nan: must be above 0"),
        ({"seed": 20260101120000}, "--seed 20260101120000: must be at most 4294967295"),
        ({"seed": -1}, "--seed -1: must be at least 0"),
        ({"output": Path(__file__)}, "test_options.py is not a folder; give another --output"),
        ({"output": Path(__file__) / "run"}, "test_options.py is not a folder; give another --output"),
        ({"output": Path("x" * 300)}, "File name too long"),
        ({"minutes": 0.0}, "--minutes 0.0: must be above 0"),
        ({"paste": 1.5}, "--paste 1.5: must be at least 0 and below 1"),
        ({"accumulate": 2, "target_batch": 8}, "two ways"),
        ({"bf16": True, "precision": "fp16"}, "contradict"),
        ({"recipe": "lihgt"}, "--recipe lihgt: known are auto, short, light"),
        ({"augmentation": "wild"}, "--augmentation wild: known are strong, mild"),
        ({"schedule": "linear"}, "--schedule linear: known are cosine, step"),
        ({"teacher": Path("nowhere")}, "--teacher nowhere: no such checkpoint folder"),
        ({"folders": [Path("nowhere")]}, "--data nowhere: no such folder"),
    ],
)
def test_bad_options_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(GOOD | changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_refused_and_none_is_made(tmp_path: Path) -> None:
    check(GOOD | {"output": tmp_path / "runs" / "new"})
    assert not (tmp_path / "runs").exists()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="link is not a folder"):
        check(GOOD | {"output": tmp_path / "link" / "run"})
    with locked(tmp_path), pytest.raises(ConfigError, match=r"--output .*: Permission denied"):
        check(GOOD | {"output": tmp_path / "run"})


def test_the_largest_seed_is_one_of_pytorch_s() -> None:
    check(GOOD | {"seed": MOST["seed"]})
    torch.Generator().manual_seed((MOST["seed"] * 1_000_003 + 10**12) * 4096 + 4095)  # as in a step of the loop


def test_prompt_mix() -> None:
    assert prompt_mix(None) == {}
    assert prompt_mix("text=2,scribble=1,point=1") == {"positional": 0.5, "points": 0.5}
    assert prompt_mix(" point=3 , text=1") == {"positional": 0.75, "points": 1.0}
    assert prompt_mix("text=1")["positional"] == 0
    for wrong in ("text", "text=a", "voice=1", "text=-1,point=2", "text=0", "text=inf", ""):
        with pytest.raises(ConfigError, match="--prompt-mix"):
            prompt_mix(wrong)


def test_precision() -> None:
    assert precision_of({"precision": "fp16", "bf16": None}, "fp32") == "fp16"
    assert [precision_of({"bf16": flag}, "x") for flag in (True, False, None)] == ["bf16", "fp32", "x"]
    with pytest.raises(ConfigError, match="fp16 trains on GPUs only"):
        open_accelerator("fp16", "cpu")


def test_which_text_encoders_are_trained() -> None:
    assert is_trained("tite", "fully_conv_optim", None) and is_trained("minilm", "original", None)
    assert not is_trained("minilm", "fully_conv_optim", None) and is_trained("minilm", "efficient", True)
    with pytest.raises(ConfigError, match="must be trained"):
        is_trained("tite", "efficient", False)
