"""One run of `humar-edge export`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from humar_edge.bundle import MANIFEST, Bundle, require_replaceable
from humar_edge.combos import resolve
from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import RefHumanIndex
from humar_edge.errors import ConfigError, DataError, ExportError
from humar_edge.export.automatic import AUTO, PLAN_FILE, find_plan, plan_file, requested
from humar_edge.export.captions import read_captions
from humar_edge.export.engines import engines
from humar_edge.export.int8 import require_blocks
from humar_edge.export.packing import Exported, Say, by_output, export_fp32, pack, say_differences
from humar_edge.export.parity import arrays, onnx_run
from humar_edge.export.plan import PLANS, Plan
from humar_edge.export.reduce import Bar, reduce_text, reduce_vision
from humar_edge.export.source import Source, open_source
from humar_edge.export.split import SPLIT, check_split, split_engines
from humar_edge.export.validation import compare_bundles, measure, require_prompts, unproved, validation_entries

PROMPTS = ("text", "point")
CACHE = "calibration-{engine}.json"
SYNTHETIC_SEED = 7041
"""Of the fallback scenes: not a seed that anybody trains with by default."""


def export(say: Say, bar: Bar, **options: Any) -> Bundle:
    """Run `humar-edge export`; see its help for the options.

    Args:
        say: Prints a line.
        bar: Opens a progress bar: (title, total) -> context with a function to call after each step.
        **options: As on the command line.
    """
    with tempfile.TemporaryDirectory(prefix="humar-edge-", ignore_cleanup_errors=True) as scratch:
        return _export(say, bar, Path(scratch), options)


def _export(say: Say, bar: Bar, scratch: Path, options: dict[str, Any]) -> Bundle:
    output: Path = options["output"]
    if (output / MANIFEST).is_file() and not options["force"]:
        raise ExportError(f"{output} exists; add --force to replace it")
    require_replaceable(output)
    prompts, plan = _prompts(options["prompts"]), requested(options["precision"], options["val_data"])
    parts = {key: options[key] for key in ("transformer_type", "text_encoder_type", "backbone")}
    source = open_source(
        options["combo"],
        resolve(options["combo"], **parts),
        options["checkpoint"],
        untrained=options["untrained"],
        input_size=image_size(options["imgsz"]),
        text_source=options["text_source"],
        ema=options["ema"],
    )
    validation, others = validation_entries(options["val_data"], options["val_limit"])
    if source.trained and not options["unverified"] and (plan != PLANS["fp32"] or options["text_precision"] != "fp32"):
        require_prompts(validation, options["val_data"])
    calibration = _calibration(plan, options, source, scratch, bar, say)
    if "point" in prompts and plan.uses("int8") and all(entry.scribble is None for entry in calibration):
        names = ", ".join(map(str, options["calibration"]))
        raise DataError(
            f"{names}: no entry has a scribble to calibrate the positional engine with; take other data, or "
            "--prompts text"
        )
    texts = [options["captions"]] if options["captions"] else options["calibration"]
    notes = _prune(source, options["vocabulary"], texts, say)
    chosen = [*engines(source, prompts), *(split_engines(source) if options["split"] else [])]
    exported = export_fp32(chosen, options["opset"], options["deform_attn"], say)
    before = [replace(item, parity=dict(item.parity)) for item in exported]
    extra: dict[str, bytes] = {}
    vision = next(item.model for item in exported if item.engine.name == "vision")
    if plan not in PLANS.values():
        require_blocks(vision, plan)
    if options["precision"] in AUTO:
        cache = _cache(options, "vision")
        found = find_plan(source, vision, validation, others, calibration, options, cache, bar, say)
        plan, extra[PLAN_FILE] = found.plan, plan_file(found)
    _reduce(source, exported, plan, calibration, validation or calibration, options, bar, say)
    if options["split"]:
        _check_split({item.engine.name: item for item in exported}, say)
    reduced = any(item.precision != "fp32" for item in exported)
    metrics: dict[str, Any] = {}
    if validation:
        metrics["export"] = _validate(
            source, before if reduced else None, exported, validation, options, scratch, bar, say
        )
    compared = metrics.get("export", {}).get("compared", 0)
    if reduced and source.trained and (note := unproved(compared, len(validation), options["unverified"])):
        notes.append(note)
        say(f"warning: {note}")
    bundle = pack(source, exported, output, name=options["name"], metrics=metrics, notes=notes, extra=extra)
    total = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    say(f"wrote {output} ({total:.1f} MB)")
    if bundle.warning:
        say(f"warning: {bundle.warning}")
    backend = " --backend onnxruntime" if options["deform_attn"] == "plugin" else ""  # OpenVINO does not know the node
    say(f"next: humar-edge run --model {output}{backend} --source PICTURE --text 'the woman in the red coat'")
    return bundle


def image_size(text: str | None) -> tuple[int, int] | None:
    """`H` or `H,W` to (height, width).

    Raises:
        ConfigError: It is neither.
    """
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--imgsz {text}: give one side or H,W, for example 384 or 384,640")
    return int(parts[0]), int(parts[-1])


def _prompts(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        if part not in PROMPTS:
            raise ConfigError(f"--prompts {text}: '{part}' is neither of {', '.join(PROMPTS)}")
    return found


def _calibration(plan: Plan, options: dict[str, Any], source: Source, scratch: Path, bar: Bar, say: Say) -> list[Entry]:
    """Images to calibrate and compare on, chosen and checked before anything expensive starts."""
    from humar_edge.calibration.images import calibration_entries

    count = options["calibration_images"]
    if options["calibration"] and plan != PLANS["fp32"]:
        return calibration_entries(options["calibration"], count)
    if not plan.uses("int8"):
        return []
    say(
        "warning: no --calibration data, INT8 ranges come from synthetic scenes; real pictures have other contrasts, "
        "which may cost accuracy"
    )
    return _synthetic(scratch / "scenes", count, max(source.input_size), bar)


def _synthetic(folder: Path, count: int, size: int, bar: Bar) -> list[Entry]:
    from humar_edge.calibration.images import choose
    from humar_edge.data.synth.scene import SceneConfig
    from humar_edge.data.synth.writer import DatasetConfig, write_dataset

    config = DatasetConfig(count, val_share=0.0, seed=SYNTHETIC_SEED, scene=SceneConfig(size=size))
    with bar("rendering scenes", count) as step:
        write_dataset(folder, config, on_scene=step)
    return choose(RefHumanIndex.load(folder, "train").entries, count)


def _prune(source: Source, keep: int | None, captions: Sequence[Path], say: Say) -> list[str]:
    if keep is None:
        return []
    before = source.encoder.tokenizer.get_vocab_size()
    source.prune(keep, [text for path in captions for text in read_captions(path)])
    after = source.encoder.tokenizer.get_vocab_size()
    say(f"vocabulary: {after} of {before} word pieces kept")
    return [f"vocabulary of {after} of {before} word pieces; other words are spelled in pieces"]


def _reduce(
    source: Source,
    exported: Sequence[Exported],
    plan: Plan,
    calibration: Sequence[Entry],
    compared: Sequence[Entry],
    options: dict[str, Any],
    bar: Bar,
    say: Say,
) -> None:
    text = exported[0]
    encode = onnx_run(text.model)
    if options["text_precision"] != "fp32":
        captions = list(dict.fromkeys(entry.caption for entry in compared))[:64]
        reduce_text(text, options["text_precision"], source.encoder.tokenizer, captions, say)
    if not (plan.uses("int8") or plan.uses("fp16")):
        return
    for item in exported[1:]:
        method, cache = options["calibration_method"], _cache(options, item.engine.name)
        reduce_vision(source, item, plan, method, calibration, compared, encode, cache, bar, say)


def _check_split(exported: dict[str, Exported], say: Say) -> None:
    """Both parts together against the whole vision engine, in the precision that goes into the bundle."""
    whole, parts = exported["vision"], [exported[name] for name in SPLIT]
    exact = all(item.precision == "fp32" for item in (whole, *parts))
    samples = arrays(whole.engine)
    found = check_split(whole.model, parts[0].model, parts[1].model, samples, exact=exact)
    say(f"features and prompt against vision, {whole.precision}")
    say_differences(found, say)
    record = {"reference": "vision", "inputs": len(samples), "outputs": by_output(found)}
    parts[1].parity["joined"] = record


def _validate(
    source: Source,
    before: Sequence[Exported] | None,
    after: Sequence[Exported],
    entries: Sequence[Entry],
    options: dict[str, Any],
    scratch: Path,
    bar: Bar,
    say: Say,
) -> dict[str, Any]:
    """Metrics of the bundle, and its comparison with its FP32 twin when it is reduced; raises when it lost too much."""
    data: dict[str, Any] = {
        "data": f"{options['val_data'].name} (val)",
        "prompts": len(entries),
        "prompt": "text",
    }
    bundle = pack(source, after, scratch / "bundle")
    if before is not None:
        return data | compare_bundles(
            pack(source, before, scratch / "fp32"),
            bundle,
            entries,
            data=data["data"],
            max_drop=options["max_drop"],
            report=options["report"],
            bar=bar,
            say=say,
        )
    figures = measure(bundle, entries, bar)
    say(f"metrics: {', '.join(f'{key} {value}' for key, value in figures.items())}")
    return data | {"bundle": figures}


def _cache(options: dict[str, Any], engine: str) -> Path | None:
    folder: Path | None = options["calibration_cache"]
    return folder / CACHE.format(engine=engine) if folder else None
