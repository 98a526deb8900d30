"""`humar-edge calibrate`: the presence score of a checkpoint, or the precision of its blocks."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from humar_edge.cli.types import Finite

PRESENCE_LIMIT, SENSITIVITY_LIMIT = 500, 200
"""Prompts measured, unless --limit says otherwise."""
BACKENDS = ("openvino", "onnxruntime", "tensorrt")
METHODS = ("minmax", "entropy", "percentile")
SENSITIVITY_ONLY = ("calibration", "calibration_cache", "combo", "backend", "threads")


@click.command("calibrate")
@click.option("--presence", "mode", flag_value="presence", help="Fit the presence score. [default]")
@click.option("--sensitivity", "mode", flag_value="sensitivity", help="Measure INT8 by block; search a precision plan.")
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path), help="Folder of humar-edge train.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="RefHuman-format data to measure on.")
@click.option("--split", default="val", show_default=True, help="Which RefHuman_<split>.json.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Presence: another checkpoint folder. [default: into --checkpoint] Sensitivity: file of the plan (JSON).",
)
@click.option("--imgsz", type=int, help="Side of the square input it will be used at. [default: as trained]")
@click.option("--limit", type=click.IntRange(min=2), help="Prompts to measure. [default: 500, sensitivity 200]")
@click.option("--seed", type=int, default=0, show_default=True, help="Sensitivity: seed of the sample of prompts.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Sensitivity: data set that calibrates INT8; of several, as many pictures of each.",
)
@click.option("--calibration-images", type=click.IntRange(min=8), default=256, show_default=True)
@click.option("--calibration-method", type=click.Choice(METHODS), default="percentile", show_default=True)
@click.option("--calibration-cache", type=click.Path(path_type=Path), help="Folder that keeps the ranges.")
@click.option(
    "--max-drop",
    type=Finite(min=0),
    default=0.01,
    show_default=True,
    help="Sensitivity: what each of OKS-AP, Acc@0.5 and mIoU may lose.",
)
@click.option(
    "--rest", type=click.Choice(("fp32", "fp16")), default="fp32", show_default=True, help="What is not INT8."
)
@click.option("--depth", type=click.IntRange(0, 4), default=1, show_default=True, help="Sensitivity: finer blocks.")
@click.option("--combo", help="Sensitivity: combination, for checkpoints that do not say theirs.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Sensitivity: backend. [default: the best]")
@click.option("--threads", type=click.IntRange(min=1), help="Sensitivity: CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(mode: str | None, **options: Any) -> None:
    """Fit the presence score of a checkpoint, or measure what INT8 costs in each of its blocks.

    The presence score (Platt scaling) and its threshold are fitted on held-out prompts of present and absent people.

    Sensitivity quantises one block at a time, measures metrics, outputs and latency, then searches the fastest plan
    within --max-drop; `humar-edge export --precision plan.json` takes it.

    \b
    humar-edge calibrate --presence --checkpoint runs/last --data street
    humar-edge calibrate --sensitivity --checkpoint runs/last --calibration street --data street --output plan.json
    """
    from humar_edge.errors import ConfigError, MissingExtraError

    if options["imgsz"] is not None and (options["imgsz"] <= 0 or options["imgsz"] % 32):
        raise ConfigError(f"--imgsz {options['imgsz']} is not divisible by 32")
    try:
        {"presence": _presence, "sensitivity": _sensitivity}[mode or "presence"](options)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train" if mode == "presence" else "export") from error


def _presence(options: dict[str, Any]) -> None:
    from humar_edge.cli.progress import progress_bar
    from humar_edge.errors import ConfigError

    checkpoint, output = options["checkpoint"], options["output"]
    given = [f"--{name.replace('_', '-')}" for name in SENSITIVITY_ONLY if options[name] not in (None, ())]
    if given:
        raise ConfigError(f"{', '.join(given)}: only with --sensitivity")
    if output is not None and output.exists():
        raise ConfigError(f"{output} exists; choose another --output")
    from humar_edge.calibration.presence import refit

    limit = options["limit"] or PRESENCE_LIMIT
    with progress_bar("measuring the score", limit) as step:
        found = refit(
            checkpoint,
            options["data"],
            output,
            split=options["split"],
            side=options["imgsz"],
            limit=limit,
            on_step=step,
        )
    if options["as_json"]:
        click.echo(json.dumps(found.to_dict()))
        return
    click.echo(f"{found.prompts} prompts, {found.absent} of them name nobody")
    for name, figures in (("before", found.before), ("after", found.after)):
        line = ", ".join(f"{key} {figures[key]:.3f}" for key in ("AUROC", "F1", "ECE", "threshold"))
        click.echo(f"{name}: {line}")
    click.echo(f"scale {found.fit.scale:.3f}, shift {found.fit.shift:.3f}")
    click.echo(f"wrote {output or checkpoint}")
    click.echo(f"next: humar-edge export --combo NAME --checkpoint {output or checkpoint} --output BUNDLE")


def _sensitivity(options: dict[str, Any]) -> None:
    from humar_edge.calibration.images import calibration_entries
    from humar_edge.cli.progress import progress_bar
    from humar_edge.combos import COMBOS, known, resolve
    from humar_edge.data.refhuman import RefHumanIndex
    from humar_edge.errors import ConfigError
    from humar_edge.evaluation.report import write_json
    from humar_edge.evaluation.run import choose_entries

    output: Path | None = options["output"]
    if not options["calibration"]:
        raise ConfigError("--sensitivity needs --calibration DIR, pictures that the INT8 ranges come from")
    if output is not None and output.is_dir():
        raise ConfigError(f"{output} is a folder; --output names the plan's file, for example plan.json")
    # Everything that can be wrong with the input is found before anything expensive starts.
    index = RefHumanIndex.load(options["data"], options["split"])
    entries = choose_entries(index.entries, "text", options["limit"] or SENSITIVITY_LIMIT, options["seed"])
    calibration = calibration_entries(options["calibration"], options["calibration_images"])
    from humar_edge.calibration.search import search
    from humar_edge.calibration.sensitivity import sensitivity_table
    from humar_edge.export.source import open_source
    from humar_edge.training.checkpoint import read_state

    checkpoint: Path = options["checkpoint"]
    combo = options["combo"] or read_state(checkpoint).get("combo", "")
    known("combination", combo, COMBOS)
    parts = {} if options["combo"] else read_state(checkpoint).get("components", {})
    side = (options["imgsz"], options["imgsz"]) if options["imgsz"] else None
    source = open_source(combo, resolve(combo, **parts), checkpoint, input_size=side)
    cache: Path | None = options["calibration_cache"]
    found = search(
        source,
        entries,
        calibration,
        max_drop=options["max_drop"],
        method=options["calibration_method"],
        cache=cache / "calibration-vision.json" if cache else None,
        depth=options["depth"],
        rest=options["rest"],
        backend=options["backend"],
        threads=options["threads"],
        bar=progress_bar,
        say=partial(click.echo, err=True),
    )
    document = found.to_dict()
    if output is not None:
        write_json(output, document)
    if options["as_json"]:
        click.echo(json.dumps(document))
        return
    from humar_edge.evaluation.compare_tables import wide_console

    wide_console().print(sensitivity_table(found.damages))
    kept = [block for block, precision in found.plan.blocks.items() if precision == "int8"]
    if found.measured is None:
        click.echo(f"INT8 saves no time within a loss of {found.max_drop:g}; the plan is {options['rest']} throughout")
    else:
        times = f"{found.measured.milliseconds:.1f} ms instead of {found.measured.reference_milliseconds:.1f}"
        click.echo(f"plan: {len(kept)} of {len(found.damages)} blocks in INT8, {times}")
    if output is not None:
        click.echo(f"wrote {output}")
        click.echo(f"next: humar-edge export --combo {combo} --checkpoint {checkpoint} --precision {output} ...")
    else:
        click.echo(json.dumps(found.plan.to_dict(), indent=2))
