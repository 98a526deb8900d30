"""Bias correction: what rounding moves the mean of a convolution's output by, its bias takes back.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, with
means from calibration images. Each convolution is measured with inputs from the FP32 network, so that its shift does
not depend on what else a plan quantises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.export.graph import copy_of, initialisers
from humar_edge.export.int8 import insert_qdq, quantizable
from humar_edge.export.parity import onnx_run
from humar_edge.export.plan import Plan

if TYPE_CHECKING:
    import onnx

Shifts = dict[str, np.ndarray]
"""Convolution -> what to add to its bias, float32 [C]."""
IMAGES = 32
"""Images that means come from; each has hundreds of places."""


def spread(entries: Sequence[Entry]) -> Sequence[Entry]:
    """`IMAGES` of the entries that calibrate, evenly spread."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), IMAGES))
    return [entries[int(place)] for place in places]


def collect_shifts(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, float],
    reader: Iterable[Mapping[str, np.ndarray]],
    on_image: Callable[[], None] | None = None,
) -> Shifts:
    """Measure what rounding moves each quantised convolution's output by.

    Args:
        model: FP32.
        plan: Whose INT8 convolutions are measured.
        ranges: Largest absolute value of each of `activations(model, plan)`.
        reader: Inputs, one image at a time.
        on_image: Called after each.

    Returns:
        Mean over images and places of FP32 less INT8, by convolution and channel; empty without inputs.
    """
    probe, outputs = _probe(model, plan, ranges)
    run = onnx_run(probe)
    means: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
    for feed in reader:
        found = run(feed)
        for name, output in outputs.items():
            means[name].append(found[output].mean(axis=(0, 2, 3)))
        if on_image is not None:
            on_image()
    return {name: np.asarray(np.mean(values, axis=0), np.float32) for name, values in means.items() if values}


def _probe(model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, float]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The FP32 graph with a rounded twin beside each quantised convolution, and by convolution the output that tells
    the mean of their difference, [N,C,1,1]."""
    import onnx
    from onnx import helper

    chosen, originals = quantizable(model, plan), {node.name: node for node in model.graph.node}
    rounded = insert_qdq(model, plan, ranges)
    probe = copy_of(rounded)
    known = initialisers(rounded)
    probe.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in known)
    outputs: dict[str, str] = {}
    del probe.graph.node[:]
    for node in rounded.graph.node:
        original = originals.get(node.name)
        probe.graph.node.append(original or node)
        if original is None or node.name not in chosen or node.op_type != "Conv":
            continue
        twin, moved, mean = (f"{node.name}/{what}" for what in ("rounded", "moved", "mean"))
        node.name, node.output[0] = twin, twin
        probe.graph.node.append(node)
        probe.graph.node.append(helper.make_node("Sub", [original.output[0], twin], [moved], moved))
        probe.graph.node.append(helper.make_node("GlobalAveragePool", [moved], [mean], mean))
        outputs[original.name] = mean
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs.values())
    return probe, outputs
