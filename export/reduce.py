"""Reduced precision for exported engines: calibrate, rewrite, and compare with FP32 on real inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from humar_edge.bundle import PREPROCESSING
from humar_edge.calibration.images import brightness, calibration_key, feeds, positional_feeds
from humar_edge.calibration.ranges import Ranges, collect_ranges
from humar_edge.data.entries import Entry
from humar_edge.export.bias import Shifts, collect_shifts, spread
from humar_edge.export.engines import CAPTIONS, caption_samples
from humar_edge.export.fp16 import to_fp16
from humar_edge.export.int8 import activations, apply_plan, counts
from humar_edge.export.packing import Exported, Say, by_output, say_differences
from humar_edge.export.parity import Arrays, Run, arrays, compare, onnx_run, require
from humar_edge.export.plan import Plan
from humar_edge.export.source import Source
from humar_edge.export.split import SPLIT, split_feeds
from humar_edge.export.weights import compress_weights, halve_convolutions

if TYPE_CHECKING:
    import onnx

Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
Inputs = Callable[[Sequence[Entry]], Iterable[Mapping[str, np.ndarray]]]
"""Entries -> the inputs of an engine, one image at a time."""

TEXT: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {"fp16": to_fp16, "int8": compress_weights}
"""How the text engine is reduced. INT8 stores weights so and computes in float: it runs once per prompt."""

TEXT_TOLERANCES = {"fp16": 0.05, "int8": 0.75}
"""Largest allowed difference of text features; these are normalised to a deviation of about one."""

COMPARED = 64
"""Images on which a reduced engine is compared with FP32."""


def reduce_text(item: Exported, precision: str, tokenizer: object, captions: Sequence[str], say: Say) -> None:
    """Reduce the text engine in place and compare it with FP32 on captions.

    Raises:
        ExportError: The features differ too much.
    """
    reference = item.model
    item.model, item.precision = TEXT[precision](reference), precision
    samples = arrays(replace(item.engine, samples=caption_samples(tokenizer, captions or CAPTIONS)))
    tolerances = dict.fromkeys(item.engine.outputs, TEXT_TOLERANCES[precision])
    differences = compare(_real_words(onnx_run(reference)), _real_words(onnx_run(item.model)), samples, tolerances)
    say(f"text {precision}: {_megabytes(item.model):.1f} MB, against FP32 on {len(samples)} captions")
    say_differences(differences, say)
    require(differences, f"text engine in {precision}")
    item.parity[precision] = {"reference": "fp32", "inputs": len(samples), "outputs": by_output(differences)}


def reduced(
    model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, float], shifts: Mapping[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """A vision or positional engine by a plan, as it goes into a bundle.

    Args:
        model: FP32.
        plan: Precision by block.
        ranges: Largest absolute value of each of `activations(model, plan)`; empty when no block is INT8.
        shifts: As in `humar_edge.export.int8.insert_qdq`.
    """
    made = apply_plan(model, plan, ranges, shifts)
    if plan.uses("int8"):
        # What stays float (last layers, linear layers of tokens, channel gates) still need not be stored so.
        made = halve_convolutions(compress_weights(made))
    return made


def reduce_vision(
    source: Source,
    item: Exported,
    plan: Plan,
    method: str,
    calibration: Sequence[Entry],
    compared: Sequence[Entry],
    encode: Run,
    cache: Path | None,
    bar: Bar,
    say: Say,
) -> None:
    """Reduce a vision or positional engine in place and compare it with FP32.

    Args:
        source: The network.
        item: The engine, FP32.
        plan: Precision by block.
        method: How INT8 ranges are chosen.
        calibration: Entries that calibrate INT8.
        compared: Entries to compare on; empty: the engine's own samples.
        encode: The text engine.
        cache: File of the calibrated ranges; None keeps none.
        bar: Opens a progress bar.
        say: Prints a line.

    Raises:
        ExportError: The reduced engine gives values that are not finite.
    """
    reference = item.model
    values: dict[str, float] = {}
    shifts: Shifts = {}

    positional = item.engine.name == "positional"

    def inputs(entries: Sequence[Entry]) -> Iterable[Mapping[str, np.ndarray]]:
        if positional:
            return positional_feeds(entries, source.input_size)
        if item.engine.name in SPLIT:
            pictures = feeds(entries, source.input_size, caption_encoder(source, encode))
            return split_feeds(item.engine.name, source, pictures)
        return feeds(entries, source.input_size, caption_encoder(source, encode))

    in_int8 = bool(activations(reference, plan))
    if in_int8:
        ranges = calibrated(source, reference, plan, calibration, inputs, cache, bar, say)
        values = ranges.values(method)
        shifts = corrected(reference, plan, values, calibration, inputs, bar)
        say(f"{item.engine.name} INT8 nodes: {', '.join(f'{n} {op}' for op, n in counts(reference, plan).items())}")
    model = reduced(reference, plan, values, shifts)
    item.model, item.precision = model, plan.name
    shown = comparable(compared, positional)
    samples = inputs(shown) if shown else arrays(item.engine)
    differences = compare(onnx_run(reference), onnx_run(model), samples, {})
    number = len(shown) or len(item.engine.samples)
    say(f"{item.engine.name} {plan.name}: {_megabytes(model):.1f} MB, against FP32 on {number} images")
    say_differences(differences, say)
    require(differences, f"{item.engine.name} engine in {plan.name} is not finite")
    item.parity[plan.name] = {
        "reference": "fp32",
        "inputs": number,
        "outputs": by_output(differences),
        "plan": plan.to_dict(),
        **({"calibration": {"images": len(calibration), "method": method}} if in_int8 else {}),
    }


def comparable(entries: Iterable[Entry], positional: bool) -> list[Entry]:
    """The first `COMPARED` entries whose picture can be read, for positional engines of those with a scribble."""
    fitting = (
        entry
        for entry in entries
        if (entry.scribble is not None or not positional) and brightness(entry.image_path) is not None
    )
    return list(islice(fitting, COMPARED))


def calibrated(
    source: Source,
    model: onnx.ModelProto,
    plan: Plan,
    entries: Sequence[Entry],
    inputs: Inputs,
    cache: Path | None,
    bar: Bar,
    say: Say,
) -> Ranges:
    """Ranges from the cache when its key matches, else from the images."""
    tensors = activations(model, plan)
    preprocessing = json.dumps([PREPROCESSING, source.input_size])
    key = calibration_key(model.SerializeToString(), source.fingerprint(), entries, preprocessing)
    found = Ranges.load(cache, key, tensors) if cache else None
    if found is not None:
        say(f"calibration: {found.images} images, from {cache}")
        return found
    chosen = [f"{entry.image_path.name}: {entry.caption}" for entry in entries]
    with bar("calibrating", len(entries)) as step:
        ranges = collect_ranges(model, tensors, inputs(entries), key=key, chosen=chosen, on_image=step)
    say(f"calibration: {ranges.images} images, {len(tensors)} tensors")
    if cache:
        ranges.save(cache)
        say(f"calibration: ranges and the list of images are in {cache}")
    return ranges


def corrected(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, float],
    entries: Sequence[Entry],
    inputs: Inputs,
    bar: Bar,
) -> Shifts:
    """What corrects the biases of a plan's INT8 convolutions, measured on some of the entries that calibrate."""
    chosen = spread(entries)
    with bar("correcting biases", len(chosen)) as step:
        return collect_shifts(model, plan, ranges, inputs(chosen), step)


def caption_encoder(source: Source, encode: Run) -> Callable[[str], Arrays]:
    """Caption -> inputs of the vision engine, through the text engine."""
    from humar_edge.models.tokenizer import encode_captions

    def features(caption: str) -> Arrays:
        ids, mask = encode_captions(source.encoder.tokenizer, [caption])
        found = encode({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return {"text_tokens": found["text_tokens"], "text_mask": mask.numpy(), "sentence": found["sentence"]}

    return features


def _real_words(run: Run) -> Run:
    """A text engine whose features at padding, which nobody reads, are zero."""

    def masked(sample: Mapping[str, np.ndarray]) -> Arrays:
        found = run(sample)
        return {**found, "text_tokens": found["text_tokens"] * sample["attention_mask"][..., None]}

    return masked


def _megabytes(model: onnx.ModelProto) -> float:
    return model.ByteSize() / 1e6
