"""Every combination exports in every precision, with random weights at the smallest size.

Combinations share parts: a vision engine depends on transformer and backbone, so each pair is exported once. A text
engine is an encoder and a projection; the light families have one kind of projection, UniPHD another (with `roberta`).
"""

from __future__ import annotations

import math

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("humar_edge.models.torchvision_guard").guard_torchvision()
for needed in ("onnxruntime", "onnxsim", "timm", "transformers"):
    pytest.importorskip(needed)

from humar_edge.calibration.ranges import collect_ranges  # noqa: E402
from humar_edge.combos import COMBOS, resolve  # noqa: E402
from humar_edge.export.engines import positional_engine, text_engine, vision_engine  # noqa: E402
from humar_edge.export.fp16 import to_fp16  # noqa: E402
from humar_edge.export.int8 import activations, apply_plan  # noqa: E402
from humar_edge.export.parity import arrays, check_export, compare, onnx_run, require  # noqa: E402
from humar_edge.export.plan import PLANS  # noqa: E402
from humar_edge.export.source import open_source  # noqa: E402
from humar_edge.export.to_onnx import to_onnx  # noqa: E402
from humar_edge.export.weights import compress_weights  # noqa: E402

pytestmark = pytest.mark.slow
SIZE = (64, 64)
COVERED = {"original": 0.09}
"""Least share of an engine's bytes that INT8 weights replace, 0.6 elsewhere: UniPHD's transformer stays float."""


def distinct(*parts):
    """The first combination with each choice of some components."""
    found = {}
    for name, combo in COMBOS.items():
        found.setdefault(tuple(getattr(combo, part) for part in parts), name)
    return [pytest.param(name, id="+".join(key)) for key, name in found.items()]


def exported(make, name, **parts):
    source = open_source(name, resolve(name, **parts), None, untrained=True, input_size=SIZE)
    engine = make(source)
    model = to_onnx(engine)
    # Nothing that only one runtime knows.
    assert {node.domain for node in model.graph.node} == {""}
    check_export(engine, model)
    return engine, model


def accept(model, reduced, feeds):
    """A reduced graph is well typed, keeps its contract, runs and stays finite."""
    onnx.checker.check_model(reduced, full_check=True)
    assert contract(reduced) == contract(model)
    found = compare(onnx_run(model), onnx_run(reduced), feeds, {})
    require(found, "reduced")
    return {difference.output: difference for difference in found}


def contract(model):
    return [(value.name, value.type.tensor_type.elem_type) for value in (*model.graph.input, *model.graph.output)]


def int8_values(model):
    return sum(math.prod(item.dims) for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT8)


def accept_all(make, name):
    # The text encoder does not matter to these engines: the smallest serves.
    engine, model = exported(make, name, text_encoder_type="tite")
    feeds = arrays(engine)[:2]
    ranges = collect_ranges(model, activations(model, PLANS["int8"]), feeds).values("minmax")
    reduced = {plan: apply_plan(model, PLANS[plan], ranges) for plan in ("fp16", "int8", "int8-fp16")}
    found = {plan: accept(model, graph, feeds) for plan, graph in reduced.items()}
    assert found["fp16"]["score"].maximum < 0.01
    size = model.ByteSize()
    assert reduced["fp16"].ByteSize() < 0.7 * size
    assert [node.op_type for node in reduced["int8"].graph.node].count("QuantizeLinear") > 20
    quantised = 4 * int8_values(reduced["int8"])
    assert quantised > COVERED.get(resolve(name).transformer_type, 0.6) * size
    # Three of the four bytes of each quantised weight are gone, whatever the scales take.
    assert size - reduced["int8"].ByteSize() > 0.9 * 0.75 * quantised
    assert reduced["int8-fp16"].ByteSize() < 0.6 * size


@pytest.mark.parametrize("name", distinct("transformer_type", "backbone"))
def test_vision_engine_in_every_precision(name):
    accept_all(vision_engine, name)


@pytest.mark.parametrize("name", distinct("transformer_type"))
def test_positional_engine_in_every_precision(name):
    accept_all(positional_engine, name)


@pytest.mark.parametrize("name", distinct("text_encoder_type"))
def test_text_engine_in_every_precision(name):
    engine, model = exported(text_engine, name)
    size = model.ByteSize()
    for reduce, share in ((to_fp16, 0.6), (compress_weights, 0.4)):
        reduced = reduce(model)
        assert reduced.ByteSize() < share * size
        found = accept(model, reduced, arrays(engine)[:1])
        assert found["sentence"].maximum < 1
