"""Command-line options of a run: one clear line for what cannot be, and their way into a recipe."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from humar_edge.errors import ConfigError
from humar_edge.training.recipes import PLANS
from humar_edge.training.samples import AUGMENTATIONS
from humar_edge.training.schedule import SCHEDULES

LEAST: dict[str, float] = {
    "batch": 1,
    "accumulate": 1,
    "target_batch": 1,
    "prompts": 1,
    "steps": 1,
    "keep": 1,
    "decoded": 1,
    "save_every": 1,
    "val_limit": 1,
    "warmup": 0,
    "val_every": 0,
    "workers": 0,
    "decay": 0,
    "rate": 0,
    "backbone_rate": 0,
    "text_rate": 0,
    "teacher_weight": 0,
    "select_weight": 0,
    "attribute_weight": 0,
    "seed": 0,
}
"""Option -> the least value that makes sense."""
MOST: dict[str, int] = {
    "epochs": 10**9,
    "seed": 2**32 - 1,  # with step and process it makes up the 64 bits of PyTorch's seeds
}
"""Option -> the largest value."""
ABOVE_ZERO = ("minutes", "epochs", "clip", "threads")
SHARES = ("dropout", "average", "paste", "foreign", "negatives")
"""Options that are probabilities or shares."""
CHOICES: dict[str, tuple[str, ...]] = {
    "recipe": ("auto", *PLANS),
    "schedule": tuple(SCHEDULES),
    "augmentation": tuple(AUGMENTATIONS),
}
MIX = ("text", "scribble", "point")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def check(options: dict[str, Any]) -> None:
    """Refuse impossible values.

    Raises:
        ConfigError: One line that names the option.
    """
    for name, least in LEAST.items():
        value = options.get(name)
        if value is not None and not least <= value < math.inf:
            raise ConfigError(f"{_option(name)} {value}: must be at least {least:g}")
    for name, most in MOST.items():
        value = options.get(name)
        if value is not None and value > most:
            raise ConfigError(f"{_option(name)} {value}: must be at most {most}")
    for name in ABOVE_ZERO:
        value = options.get(name)
        if value is not None and not value > 0:
            raise ConfigError(f"{_option(name)} {value}: must be above 0")
    for name in SHARES:
        value = options.get(name)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{_option(name)} {value}: must be at least 0 and below 1")
    size = options["imgsz"]
    if size % 32 or size < 64:
        raise ConfigError(f"--imgsz {size}: must be a multiple of 32 and at least 64")
    if options.get("accumulate") and options.get("target_batch"):
        raise ConfigError("--accumulate and --target-batch say the same in two ways; give one of them")
    if options.get("bf16") and options.get("precision") not in (None, "bf16"):
        raise ConfigError(f"--bf16 and --precision {options['precision']} contradict each other")
    for name, known in CHOICES.items():
        value = options.get(name)
        if value is not None and value not in known:
            raise ConfigError(f"{_option(name)} {value}: known are {', '.join(known)}")
    if options.get("output") is not None:
        _check_output(options["output"])
    teacher = options.get("teacher")
    if teacher is not None and not Path(teacher).is_dir():
        raise ConfigError(f"--teacher {teacher}: no such checkpoint folder")
    for folder in options.get("folders", ()):
        if not Path(folder).is_dir():
            raise ConfigError(f"--data {folder}: no such folder")


def _check_output(output: Path) -> None:
    """Refuse a folder that cannot be made or written, before any work; it is not made yet."""
    places = (output, *output.absolute().parents)
    try:
        nearest = next(place for place in places if place.exists() or place.is_symlink())
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ConfigError(f"--output {output}: {error.strerror}") from error
    if not nearest.is_dir():
        raise ConfigError(f"--output {output}: {nearest} is not a folder; give another --output")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"--output {output}: {nearest} cannot be written; give another --output")


def prompt_mix(text: str | None) -> dict[str, float]:
    """Shares of prompts from `text=8,scribble=1,point=1`, any subset in any order, as options of `SampleOptions`.

    Only present people can be prompted by points, so their share is one of those.

    Raises:
        ConfigError: It is not written so, or there is no weight.
    """
    if text is None:
        return {}
    weights = dict.fromkeys(MIX, 0.0)
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            weights[name] = weights[name] * 0 + float(number)
        except (KeyError, ValueError):
            raise ConfigError(f"--prompt-mix {text}: write it as text=8,scribble=1,point=1") from None
    total, positional = sum(weights.values()), weights["scribble"] + weights["point"]
    if not (min(weights.values()) >= 0 and 0 < total < math.inf):
        raise ConfigError(f"--prompt-mix {text}: weights must not be negative, and one must be above 0")
    return {"positional": positional / total, "points": weights["point"] / positional if positional else 0.5}


def precision_of(options: dict[str, Any], default: str) -> str:
    """`--precision`, or what `--bf16` and `--no-bf16` say, or the default."""
    if options.get("precision"):
        return str(options["precision"])
    if options.get("bf16") is None:
        return default
    return "bf16" if options["bf16"] else "fp32"
