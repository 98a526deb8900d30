from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from humar_edge.export.deform_attn import (  # noqa: E402
    DOMAIN,
    OP_TYPE,
    embed_function,
    function_body,
    inline_function,
    plugin_node,
)
from humar_edge.models.original.deformable import (  # noqa: E402
    DeformableAttention,
    deform_attn,
    ms_deform_attn_gather,
)
from humar_edge.runtime.runners import open_runner  # noqa: E402

SHAPES = ((7, 5), (4, 3), (2, 1))


def bare_model(dtype):
    """A graph that is nothing but the node."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    types = (kind, onnx.TensorProto.INT32, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, kind)
    names = ("value", "spatial_shapes", "level_start", "locations", "weights")
    node = onnx.helper.make_node(OP_TYPE, names, ["out"], domain=DOMAIN, plugin_version="1", plugin_namespace="humar")
    ranks = (4, 2, 1, 6, 5)
    inputs = [
        onnx.helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])
        for name, kind, rank in zip(names, types, ranks, strict=True)
    ]
    output = onnx.helper.make_tensor_value_info("out", kind, list("nqmd"))
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return embed_function(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float16, 4e-3)])
@pytest.mark.parametrize("spread", [0.2, 4.0])
def test_function_body_equals_the_torch_operator(dtype, tolerance, spread):
    session = ort.InferenceSession(bare_model(dtype).SerializeToString())
    random = np.random.default_rng(0)
    for batch, queries, heads, points in itertools.product((1, 2), (1, 5), (1, 3), (2,)):
        cells = sum(height * width for height, width in SHAPES)
        value = random.standard_normal((batch, cells, heads, 4)).astype(dtype)
        places = 0.5 + spread * random.standard_normal((batch, queries, heads, 3, points, 2))
        weights = random.random((batch, queries, heads, 3, points)).astype(dtype)
        feed = {
            "value": value,
            "spatial_shapes": np.array(SHAPES, np.int32),
            "level_start": np.array([0, 35, 47], np.int32),
            "locations": places.astype(np.float32),
            "weights": weights,
        }
        (found,) = session.run(None, feed)
        tensors = [torch.from_numpy(array).float() for array in (value, feed["locations"], weights)]
        expected = ms_deform_attn_gather(tensors[0], SHAPES, tensors[1], tensors[2])
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected.numpy(), atol=tolerance)


def export(strategy, opset=17):
    torch.manual_seed(0)
    network = DeformableAttention(width=32, levels=3, heads=8, points=4).eval()
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    cells = sum(height * width for height, width in SHAPES)
    inputs = (torch.randn(1, 6, 32), torch.rand(1, 6, 3, 2), torch.randn(1, cells, 32))

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, query, references, memory):
            return self.network(query, references, memory, SHAPES, None)

    buffer = io.BytesIO()
    with deform_attn(strategy), plugin_node(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Fixed(), inputs, buffer, opset_version=opset, dynamo=False, input_names=["query", "references", "memory"]
        )
        expected = Fixed()(*inputs)
    return onnx.load_from_string(buffer.getvalue()), inputs, expected


FORBIDDEN = {"gather": {OP_TYPE, "GridSample"}, "gridsample": {OP_TYPE}, "plugin": {"GridSample", "Floor"}}
EXPECTED = {"gather": "Gather", "gridsample": "GridSample", "plugin": OP_TYPE}


@pytest.mark.parametrize("strategy", sorted(EXPECTED))
def test_each_lowering_runs_in_onnxruntime(strategy):
    model, inputs, expected = export(strategy)
    model = embed_function(model)
    onnx.checker.check_model(model, full_check=strategy != "plugin")
    kinds = {node.op_type for node in model.graph.node}
    assert EXPECTED[strategy] in kinds
    assert not kinds & FORBIDDEN[strategy]
    assert bool(model.functions) == (strategy == "plugin")
    session = ort.InferenceSession(model.SerializeToString())
    feed = {name: tensor.numpy() for name, tensor in zip(("query", "references", "memory"), inputs, strict=True)}
    np.testing.assert_allclose(session.run(None, feed)[0], expected.numpy(), atol=1e-5)


def test_the_function_has_the_opset_of_its_model():
    model, inputs, expected = export("plugin", opset=19)
    model = embed_function(model)
    onnx.checker.check_model(model)
    feed = {name: tensor.numpy() for name, tensor in zip(("query", "references", "memory"), inputs, strict=True)}
    found = ort.InferenceSession(model.SerializeToString()).run(None, feed)[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_node_keeps_the_contract_of_the_plugin():
    model, _, _ = export("plugin")
    (node,) = [node for node in model.graph.node if node.op_type == OP_TYPE]
    attributes = {attribute.name: attribute.s.decode() for attribute in node.attribute}
    assert attributes == {"plugin_version": "1", "plugin_namespace": "humar"}
    assert len(node.input) == 5 and len(node.output) == 1
    assert list(function_body().input) == ["value", "spatial_shapes", "level_start", "locations", "weights"]


def test_embedding_twice_or_without_a_node_changes_nothing():
    model, _, _ = export("gather")
    assert not embed_function(model).functions
    model = embed_function(export("plugin")[0])
    assert len(embed_function(model).functions) == 1


def test_inlined_model_runs_in_openvino(tmp_path):
    model, inputs, expected = export("plugin")
    path = tmp_path / "inlined.onnx"
    onnx.save(inline_function(model), path)
    with open_runner(path, "openvino", threads=1) as runner:
        feeds = {name: tensor.numpy() for name, tensor in zip(runner.input_specs, inputs, strict=True)}
        (found,) = runner.infer(feeds).values()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
