"""Bias correction of INT8: means come back, and stay with the convolutions that a plan quantises."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from humar_edge.export.bias import IMAGES, collect_shifts, spread  # noqa: E402
from humar_edge.export.int8 import insert_qdq  # noqa: E402
from humar_edge.export.parity import onnx_run  # noqa: E402
from humar_edge.export.plan import Plan  # noqa: E402

INT8 = Plan({"backbone": "int8"})
FIRST, SECOND = "/network/backbone/first/Conv", "/network/backbone/second/Conv"
RANGES = {"x": 1.0, "a": 4.0}


def two_convolutions() -> onnx.ModelProto:
    """The first with a bias; weights with one large value, so that the others are rounded coarsely."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0, 0.1, shape).astype(np.float32) for shape in ((6, 4, 3, 3), (5, 6, 1, 1))]
    for weight in weights:
        weight[:, 0, 0, 0] = 3.0
    constants = {"w1": weights[0], "w2": weights[1], "bias": rng.normal(size=6).astype(np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1", "bias"], ["a"], FIRST),
            helper.make_node("Conv", ["a", "w2"], ["b"], SECOND),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 12, 12])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 5, 10, 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def pictures(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.uniform(0, 1, (1, 4, 12, 12)).astype(np.float32)} for _ in range(count)]


def test_means_come_back_on_pictures_that_were_not_measured() -> None:
    model = two_convolutions()
    shifts = collect_shifts(model, INT8, RANGES, pictures(8))
    assert {name: values.shape for name, values in shifts.items()} == {FIRST: (6,), SECOND: (5,)}
    others = pictures(20)[8:]

    def mean_error(rounded: onnx.ModelProto) -> float:
        exact, found = onnx_run(model), onnx_run(rounded)
        return float(np.abs(np.mean([exact(x)["b"] - found(x)["b"] for x in others], axis=(0, 1, 3, 4))).max())

    corrected = insert_qdq(model, INT8, RANGES, shifts)
    onnx.checker.check_model(corrected, full_check=True)
    assert mean_error(corrected) < 0.2 * mean_error(insert_qdq(model, INT8, RANGES))


def test_a_plan_takes_the_shifts_of_its_own_convolutions() -> None:
    model = two_convolutions()
    shifts = collect_shifts(model, INT8, RANGES, pictures(2))
    part = insert_qdq(model, Plan({"backbone/second": "int8"}), RANGES, shifts)
    nodes = {node.name: node for node in part.graph.node}
    constants = {item.name: numpy_helper.to_array(item) for item in part.graph.initializer}
    assert list(nodes[FIRST].input) == ["x", "w1", "bias"]
    np.testing.assert_array_equal(constants[nodes[SECOND].input[2]], shifts[SECOND])
    assert collect_shifts(model, INT8, RANGES, []) == {}


@pytest.mark.parametrize("count", [1, IMAGES - 1, IMAGES, 2 * IMAGES - 1, 5 * IMAGES + 3])
def test_pictures_are_spread_over_those_that_calibrate(count: int) -> None:
    entries = list(range(count))
    chosen = spread(entries)  # type: ignore[type-var]
    assert len(chosen) == min(count, IMAGES) and (chosen[0], chosen[-1]) == (0, count - 1)
