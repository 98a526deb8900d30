"""The memory estimate against graphs small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError, ConfigError
from humar_edge.runtime.memory import CUDA_CONTEXT, GIB, MIB, Verdict, estimate_bundle, estimate_memory, parse_vram

onnx = pytest.importorskip("onnx")
FLOATS = 1000
TENSOR = 4 * FLOATS


def write(path: Path, nodes, outputs, constants=(), size=FLOATS) -> Path:
    """A graph with the input x float32 [size]; nodes are (operator, inputs, outputs, attributes)."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_chain_reuses_its_memory(tmp_path):
    steps = ("Relu", "x", "a"), ("Exp", "a", "b"), ("Tanh", "b", "c"), ("Sigmoid", "c", "d"), ("ReduceSum", "d", "y")
    nodes = [(operator, [source], [target], {}) for operator, source, target in steps]
    found = estimate_memory(write(tmp_path / "chain.onnx", nodes, {"y": [1]}))
    assert found.activations == TENSOR
    assert found.io == TENSOR + 4


def test_what_is_needed_later_stays(tmp_path):
    """`a` waits for the sum, so it adds to `twice`, which is two of it; the sum is one number."""
    nodes = [
        ("Relu", ["x"], ["a"], {}),
        ("Concat", ["a", "a"], ["twice"], {"axis": 0}),
        ("ReduceSum", ["twice"], ["sum"], {"keepdims": 1}),
        ("Mul", ["a", "sum"], ["scaled"], {}),
        ("ReduceMax", ["scaled"], ["y"], {"keepdims": 1}),
    ]
    found = estimate_memory(write(tmp_path / "later.onnx", nodes, {"y": [1]}))
    assert found.activations == 3 * TENSOR + 4


def test_views_are_free_and_outputs_are_not_counted_twice(tmp_path):
    nodes = [("Reshape", ["x", "shape"], ["square"], {}), ("Relu", ["square"], ["y"], {})]
    constants = [("shape", np.array([10, 100], dtype=np.int64))]
    found = estimate_memory(write(tmp_path / "view.onnx", nodes, {"y": [10, 100]}, constants))
    assert found.activations == 0
    assert found.io == 2 * TENSOR


def test_weights_count_as_they_are_stored(tmp_path):
    """INT8 weights behind DequantizeLinear and FP16 ones behind Cast are one and two bytes each."""
    constants = [
        ("w8", np.ones(FLOATS, dtype=np.int8)),
        ("scale", np.array(0.5, dtype=np.float32)),
        ("zero", np.array(0, dtype=np.int8)),
        ("w16", np.arange(FLOATS).astype(np.float16)),
    ]
    nodes = [
        ("DequantizeLinear", ["w8", "scale", "zero"], ["w"], {}),
        ("Cast", ["w16"], ["v"], {"to": 1}),
        ("Mul", ["x", "w"], ["a"], {}),
        ("Add", ["a", "v"], ["y"], {}),
    ]
    found = estimate_memory(write(tmp_path / "weights.onnx", nodes, {"y": [FLOATS]}, constants))
    assert 3 * FLOATS <= found.weights <= 3 * FLOATS + 64


def test_a_bundle(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    found = estimate_bundle({"text": bundle.text_engine, "vision": bundle.vision_engine})
    picture = 96 * 128 * 3
    assert found["vision"].activations >= 4 * picture
    assert found["vision"].io >= picture + 4 * 24 * 32
    assert found["vision"].to_dict()["total"] == found["vision"].total > found["text"].total


def test_graphs_that_cannot_be_read_are_named(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no graph")
    with pytest.raises(BackendError, match=r"bad\.onnx"):
        estimate_memory(bad)
    with pytest.raises(BackendError, match="dynamic; export with a fixed input size"):
        estimate_memory(write(tmp_path / "free.onnx", [("Relu", ["x"], ["y"], {})], {"y": ["n"]}, size="n"))


def test_verdicts():
    assert parse_vram("4G") == parse_vram("4") == parse_vram("4GiB") == 4 * GIB
    assert parse_vram("512m") == 512 * MIB
    assert parse_vram("1.5G") == 1536 * MIB
    for wrong in ("", "four", "0G", "-4G", "4T"):
        with pytest.raises(ConfigError, match="4G or 512M"):
            parse_vram(wrong)
    exact = Verdict(4 * GIB, 4 * GIB - CUDA_CONTEXT)
    assert exact.fits
    assert str(exact).startswith("fits into 4.0 GiB (estimate): 3596 MiB engines + 500 MiB CUDA (assumed) = 4096 MiB")
    over = Verdict(512 * MIB, 13 * MIB, estimate=False)
    assert not over.to_dict()["fits"]
    assert str(over).startswith("does not fit into 512 MiB (measured)")
