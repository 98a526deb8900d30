"""`--precision auto`: the plan is searched before the engines are reduced by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humar_edge.calibration.search import Found, search
from humar_edge.data.entries import Entry
from humar_edge.errors import ConfigError
from humar_edge.evaluation.run import choose_entries
from humar_edge.export.plan import PLANS, Plan, plan_of
from humar_edge.export.source import Source

if TYPE_CHECKING:
    import onnx

Say = Callable[[str], None]
Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

AUTO = {"auto": "fp32", "auto-fp16": "fp16"}
"""Precision that asks for a search -> what is not INT8 in the plans that it tries."""
SEARCHED = 200
"""Prompts that a search measures plans on."""
PLAN_FILE = "plan.json"
"""In the bundle: the plan and its evidence; an input of `--precision` as it stands."""


def requested(precision: str, val_data: Path | None) -> Plan:
    """The plan by name or file; for a search the one that reaches all that it may quantise.

    Raises:
        ConfigError: No such plan, or a search without data to measure on.
    """
    if precision not in AUTO:
        return plan_of(precision)
    if val_data is None:
        raise ConfigError(f"--precision {precision} measures plans: give --val-data DIR, a data set with a val split")
    return PLANS["int8"]


def find_plan(
    source: Source,
    model: onnx.ModelProto,
    validation: Sequence[Entry],
    others: Sequence[Entry],
    calibration: Sequence[Entry],
    options: dict[str, Any],
    cache: Path | None,
    bar: Bar,
    say: Say,
) -> Found:
    """Search the plan.

    Args:
        source: The network.
        model: Its vision engine, FP32.
        validation: Prompts that will measure the bundle.
        others: Prompts of the same data that will not. The plan is searched on these where they are enough, because
            a search picks what does well on its own prompts.
        calibration: Entries that calibrate INT8.
        options: Of `humar-edge export`.
        cache: File of the calibrated ranges.
        bar: Opens a progress bar.
        say: Prints a line.
    """
    apart = len(others) >= SEARCHED
    entries = choose_entries(others if apart else validation, "text", SEARCHED)
    say(f"searching the plan on {len(entries)} prompts{'' if apart else ', of those that measure the bundle as well'}")
    found = search(
        source,
        entries,
        calibration,
        max_drop=options["max_drop"],
        model=model,
        method=options["calibration_method"],
        cache=cache,
        rest=AUTO[options["precision"]],
        bar=bar,
        say=say,
    )
    blocks = [block for block, precision in found.plan.blocks.items() if precision == "int8"]
    say(f"plan: {len(blocks)} of {len(found.damages)} blocks in INT8; {PLAN_FILE} in the bundle")
    return found


def plan_file(found: Found) -> bytes:
    """What goes into the bundle."""
    return (json.dumps(found.to_dict(), indent=2) + "\n").encode()
