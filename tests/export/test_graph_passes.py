"""The precision passes on graphs small enough to know every node."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from humar_edge.calibration.ranges import collect_ranges  # noqa: E402
from humar_edge.errors import ConfigError, ExportError  # noqa: E402
from humar_edge.export.fp16 import to_fp16  # noqa: E402
from humar_edge.export.graph import copy_of, quantise  # noqa: E402
from humar_edge.export.int8 import activations, apply_plan, counts, insert_qdq  # noqa: E402
from humar_edge.export.maps import separate_maps  # noqa: E402
from humar_edge.export.parity import onnx_run  # noqa: E402
from humar_edge.export.plan import PLANS, Plan, plan_of  # noqa: E402
from humar_edge.export.weights import compress_weights, halve_convolutions  # noqa: E402

INT8 = Plan({"backbone": "int8"}, name="int8")


def model(nodes, constants, inputs, outputs, opset=17, domains=()):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def small_network():
    """Two convolutions with a residual addition, a channel gate, and a head."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32),
        "w2": rng.normal(0, 0.2, (4, 4, 1, 1)).astype(np.float32),
        "w3": rng.normal(0, 0.2, (4, 4, 1, 1)).astype(np.float32),
        "w4": rng.normal(0, 0.2, (1, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "/network/backbone/first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w2"], ["b"], "/network/backbone/second/Conv"),
        helper.make_node("Add", ["a", "b"], ["c"], "/network/backbone/Add"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], "/network/backbone/gate/Pool"),
        helper.make_node("Conv", ["p", "w3"], ["g"], "/network/backbone/gate/Conv"),
        helper.make_node("Mul", ["c", "g"], ["d"], "/network/backbone/gate/Mul"),
        helper.make_node("Conv", ["d", "w4"], ["e"], "/network/transformer/selection/score/Conv"),
        helper.make_node("Sigmoid", ["e"], ["score"], "/network/transformer/Sigmoid"),
    ]
    return model(nodes, constants, {"x": (TensorProto.FLOAT, [1, 3, 8, 8])}, ["score"])


def picture(seed=0):
    return {"x": np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)}


def test_quantise_is_symmetric_per_channel():
    weight = np.array([[1.0, -2.0], [0.0, 0.0], [127.0, 3.0]], np.float32)
    small, scale = quantise(weight, 0)
    assert small.dtype == np.int8 and small.min() == -127
    np.testing.assert_allclose(small * scale[:, None], weight, atol=0.51)
    assert scale[1] == 1.0


def test_int8_is_explicit_symmetric_and_leaves_gates_and_heads_alone():
    found = small_network()
    assert activations(found, INT8) == ["a", "b", "x"]
    quantised = insert_qdq(found, INT8, {"a": 5.0, "b": 3.0, "x": 4.0})
    onnx.checker.check_model(quantised, full_check=True)
    constants = {item.name: numpy_helper.to_array(item) for item in quantised.graph.initializer}
    made_by = {node.output[0]: node for node in quantised.graph.node}
    nodes = {node.name: node for node in quantised.graph.node}
    for node in quantised.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constants[node.input[2]].any() and constants[node.input[2]].dtype == np.int8
    first = nodes["/network/backbone/first/Conv"]
    assert [made_by[name].op_type for name in first.input] == ["DequantizeLinear"] * 2
    assert constants[made_by[first.input[1]].input[1]].shape == (4,)
    assert list(nodes["/network/backbone/gate/Conv"].input) == ["p", "w3"]
    assert list(nodes["/network/transformer/selection/score/Conv"].input) == ["d", "w4"]
    # A Q/DQ pair of its own for every input, also where two nodes read one tensor.
    assert sum(node.op_type == "QuantizeLinear" for node in quantised.graph.node) == 4
    difference = onnx_run(found)(picture())["score"] - onnx_run(quantised)(picture())["score"]
    assert np.abs(difference).max() < 0.05


def test_int8_products_fit_16_bits_in_pairs():
    """Without VNNI two products of an unsigned and a signed byte are added in 16 bits, and saturate."""
    rng = np.random.default_rng(0)
    found = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], "/network/backbone/Conv")],
        {"w": rng.choice([-1.0, 1.0], (8, 64, 1, 1)).astype(np.float32)},
        {"x": (TensorProto.FLOAT, [1, 64, 8, 8])},
        ["y"],
    )
    quantised = insert_qdq(found, INT8, {"x": 1.0})
    (weight,) = (numpy_helper.to_array(item) for item in quantised.graph.initializer if item.name == "w_int8")
    assert np.abs(weight.astype(int)).max() * 255 * 2 <= np.iinfo(np.int16).max
    inputs = {"x": rng.choice([-1.0, 1.0], (1, 64, 8, 8)).astype(np.float32)}
    np.testing.assert_allclose(onnx_run(quantised)(inputs)["y"], onnx_run(found)(inputs)["y"], atol=1e-3)


def test_int8_needs_ranges_and_something_to_quantise():
    with pytest.raises(ExportError, match="no calibrated range"):
        insert_qdq(small_network(), INT8, {"x": 1.0})
    with pytest.raises(ExportError, match="nothing to quantise"):
        insert_qdq(small_network(), Plan({"neck": "int8"}), {})


def test_ranges_are_read_picture_by_picture():
    waiting = []

    def reader():
        for seed in range(5):
            assert not waiting, "an earlier picture is still to be read"
            waiting.append(seed)
            yield picture(seed)

    found = small_network()
    ranges = collect_ranges(found, activations(found, INT8), reader(), on_image=waiting.clear)
    assert ranges.images == 5
    quantised = apply_plan(found, INT8, ranges.values("percentile"))
    onnx.checker.check_model(quantised, full_check=True)
    assert counts(found, INT8) == {"Conv": 2, "Add": 1}


def test_fp16_keeps_inputs_outputs_and_islands():
    found = small_network()
    half = to_fp16(found)
    onnx.checker.check_model(half, full_check=True)
    types = {item.name.removesuffix("_fp16"): item.data_type for item in half.graph.initializer}
    assert types == {**dict.fromkeys(("w1", "w2", "w3"), TensorProto.FLOAT16), "w4": TensorProto.FLOAT}
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    # The layer that gives the score is the island's shore.
    score = next(node for node in half.graph.node if "w4" in node.input)
    cast = next(node for node in half.graph.node if node.output[0] == score.input[0])
    assert cast.op_type == "Cast" and cast.attribute[0].i == TensorProto.FLOAT
    expected, result = onnx_run(found)(picture())["score"], onnx_run(half)(picture())["score"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=5e-3)


@pytest.mark.parametrize("value", [1e-9, 1e6])
def test_fp16_keeps_nodes_whose_constants_it_cannot_hold(value):
    found = model(
        [helper.make_node("Add", ["x", "c"], ["y"], "/network/neck/inner/Add")],
        {"c": np.array([value], np.float32)},
        {"x": (TensorProto.FLOAT, [1, 3])},
        ["y"],
    )
    half = to_fp16(found)
    assert [node.op_type for node in half.graph.node] == ["Add"]


def test_fp16_leaves_the_scales_of_a_resize_alone():
    found = model(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], "/network/neck/up/Resize", mode="nearest")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        {"x": (TensorProto.FLOAT, [1, 3, 4, 4])},
        ["y"],
    )
    half = to_fp16(found)
    onnx.checker.check_model(half, full_check=True)
    assert [item.data_type for item in half.graph.initializer] == [TensorProto.FLOAT]
    assert [node.op_type for node in half.graph.node] == ["Cast", "Resize", "Cast"]


def test_fp16_is_consistent_around_operators_of_unknown_type():
    """onnxruntime's own fused operators have no shape inference in onnx: half and float must not meet behind them."""
    rng = np.random.default_rng(0)
    constants = {name: rng.normal(size=(8, 8)).astype(np.float32) for name in ("w1", "w2", "w3")}
    path = "/network/backbone/block/attention"
    found = model(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"], f"{path}/query/MatMul"),
            helper.make_node("Gelu", ["a"], ["b"], f"{path}/Gelu", domain="com.microsoft"),
            helper.make_node("MatMul", ["b", "w2"], ["c"], f"{path}/dense/MatMul"),
            helper.make_node("MatMul", ["a", "w3"], ["d"], f"{path}/value/MatMul"),
            helper.make_node("Add", ["c", "d"], ["y"], f"{path}/Add"),
        ],
        constants,
        {"x": (TensorProto.FLOAT, [1, 8])},
        ["y"],
        domains=["com.microsoft"],
    )
    half = to_fp16(found)
    types = {item.name: item.data_type for item in half.graph.initializer}
    assert sorted(types.values()) == [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.FLOAT16]
    inputs = {"x": rng.normal(size=(1, 8)).astype(np.float32)}
    np.testing.assert_allclose(onnx_run(half)(inputs)["y"], onnx_run(found)(inputs)["y"], atol=0.1)


def test_int8_and_fp16_in_one_plan():
    plan = Plan({"backbone": "int8"}, "fp16")
    mixed = apply_plan(small_network(), plan, {"a": 5.0, "b": 3.0, "x": 4.0})
    onnx.checker.check_model(mixed, full_check=True)
    kinds = {item.data_type for item in mixed.graph.initializer}
    assert {TensorProto.INT8, TensorProto.FLOAT16} <= kinds
    assert np.isfinite(onnx_run(mixed)(picture())["score"]).all()


def test_weights_alone_shrink_tables_and_matrices():
    rng = np.random.default_rng(0)
    table, matrix = (rng.normal(size=shape).astype(np.float32) for shape in ((100, 64), (64, 64)))
    found = model(
        [
            helper.make_node("Gather", ["table", "ids"], ["words"], "/text/Gather"),
            helper.make_node("MatMul", ["words", "matrix"], ["y"], "/text/MatMul"),
        ],
        {"table": table, "matrix": matrix},
        {"ids": (TensorProto.INT64, [1, 5])},
        ["y"],
    )
    small = compress_weights(found)
    onnx.checker.check_model(small, full_check=True)
    assert small.ByteSize() < 0.35 * found.ByteSize()
    ids = {"ids": np.array([[0, 7, 99, 3, 3]])}
    difference = onnx_run(found)(ids)["y"] - onnx_run(small)(ids)["y"]
    assert 0 < np.abs(difference).max() < 0.3


def test_convolutions_and_tables_of_coordinates_stay_exact():
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(64, 64, 1, 1)), "grid": rng.random((4096, 2))}
    found = model(
        [
            helper.make_node("Conv", ["x", "w"], ["z"], "/network/people/read/Conv"),
            helper.make_node("MatMul", ["share", "grid"], ["y"], "/network/transformer/instance/MatMul"),
        ],
        {name: value.astype(np.float32) for name, value in weights.items()},
        {"x": (TensorProto.FLOAT, [1, 64, 4, 4]), "share": (TensorProto.FLOAT, [1, 4096])},
        ["y", "z"],
    )
    assert compress_weights(found).SerializeToString() == found.SerializeToString()


def test_convolutions_are_stored_in_half():
    found = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], "/network/neck/gate/Conv")],
        {"w": np.linspace(-1, 1, 8192, dtype=np.float32).reshape(4096, 2, 1, 1)},
        {"x": (TensorProto.FLOAT, [1, 2, 64, 64])},
        ["y"],
    )
    half = halve_convolutions(found)
    assert half.ByteSize() < 0.6 * found.ByteSize()
    assert {item.data_type for item in half.graph.initializer} == {TensorProto.FLOAT16}
    inputs = {"x": np.zeros((1, 2, 64, 64), np.float32)}
    np.testing.assert_allclose(onnx_run(half)(inputs)["y"], onnx_run(found)(inputs)["y"], atol=1e-3)


def test_maps_of_places_are_stored_as_rows_and_columns():
    rng = np.random.default_rng(0)
    across, down = rng.normal(size=(1, 8, 1, 32)), rng.normal(size=(1, 8, 24, 1))
    found = model(
        [
            helper.make_node("Add", ["x", "place"], ["a"], "/network/neck/position/Add"),
            helper.make_node("Add", ["any", "a"], ["y"], "/network/neck/Add"),
        ],
        {
            "place": (across + down).astype(np.float32),
            "any": rng.normal(size=(1, 8, 24, 32)).astype(np.float32),
        },
        {"x": (TensorProto.FLOAT, [1, 8, 24, 32])},
        ["y"],
    )
    separated = copy_of(found)
    separate_maps(separated)
    kept = {tuple(item.dims) for item in separated.graph.initializer}
    assert kept == {(1, 8, 1, 32), (1, 8, 24, 1), (1, 8, 24, 32)}
    assert {"/network/neck/position/Add", "/network/neck/Add"} < {node.name for node in separated.graph.node}
    inputs = {"x": rng.normal(size=(1, 8, 24, 32)).astype(np.float32)}
    np.testing.assert_allclose(onnx_run(separated)(inputs)["y"], onnx_run(found)(inputs)["y"], atol=1e-5)


def test_the_longest_block_of_a_plan_counts():
    plan = Plan({"transformer": "fp16", "transformer/fusion": "int8"}, "fp32")
    assert [plan.precision(path) for path in ("transformer/fusion/x", "transformer/fusionary", "neck")] == [
        "int8",
        "fp16",
        "fp32",
    ]
    assert Plan.from_dict(plan.to_dict()) == plan


def test_plans_come_by_name_or_file(tmp_path):
    assert plan_of("int8") is PLANS["int8"]
    file = tmp_path / "mine.json"
    file.write_text('{"blocks": {"backbone": "int8"}}')
    assert plan_of(str(file)).name == "mine"
    for text, content in (("int9", None), (str(file), "[]"), (str(file), '{"blocks": {"a": "int4"}}')):
        if content:
            file.write_text(content)
        with pytest.raises(ConfigError):
            plan_of(text)
