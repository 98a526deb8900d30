"""The GPU of host memory, small ONNX files, and a watcher that remembers."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
import doubles

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def make_onnx(path: Path, scale: float = 2.0, size: int = 4, operator: str = "", half: bool = False) -> Path:
    """image uint8 [1,size,size,3], bias float32 [1,3] -> pooled float32 [1,3], mask float32 [1,size,size]."""
    from onnx import TensorProto, helper

    weight = helper.make_tensor("scale", TensorProto.FLOAT, [], [scale])
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["pooled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mask"], axes=[3], keepdims=0),
    ]
    initializers = [weight]
    if half:
        initializers.append(helper.make_tensor("half", TensorProto.FLOAT16, [1], [1.0]))
        nodes.append(helper.make_node("Identity", ["half"], ["unused"]))
    functions = []
    if operator:
        nodes.append(helper.make_node(operator, ["mean"], ["attended"], domain="trt.plugins"))
        body = [helper.make_node("Identity", ["x"], ["y"])]
        opset = [helper.make_opsetid("", 17)]
        functions.append(helper.make_function("trt.plugins", operator, ["x"], ["y"], body, opset))
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [1, size, size, 3]),
            helper.make_tensor_value_info("bias", TensorProto.FLOAT, [1, 3]),
        ],
        [
            helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, 3]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, size, size]),
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("trt.plugins", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


class Remembering:
    """A watcher for tests."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.events: list[dict] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def event(self, event: dict) -> None:
        self.events.append(event)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The GPU with doubles of TensorRT and cuda-python; the test fails when it leaks or broke a rule of CUDA."""
    monkeypatch.setenv("HUMAR_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HUMAR_EDGE_CUDA", raising=False)
    monkeypatch.delenv("HUMAR_EDGE_PLUGIN", raising=False)
    found = doubles.install(monkeypatch, tmp_path)
    yield found
    gc.collect()
    problems = found.problems()
    doubles.forget()
    assert problems == []


@pytest.fixture
def small(tmp_path) -> Path:
    return make_onnx(tmp_path / "small.onnx")


@pytest.fixture
def watcher() -> Remembering:
    return Remembering()


@pytest.fixture
def feed() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8),
        "bias": rng.standard_normal((1, 3)).astype(np.float32),
    }


@pytest.fixture
def onnx_maker():
    return make_onnx
