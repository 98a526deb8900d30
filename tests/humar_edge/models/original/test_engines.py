"""The engines as ONNX graphs: same numbers, static shapes, nothing infinite, no GridSample unless asked for."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from humar_edge.export.deform_attn import OP_TYPE, embed_function, plugin_node  # noqa: E402
from humar_edge.models.original.deformable import deform_attn  # noqa: E402

pytestmark = pytest.mark.slow
OUTPUTS = ["score", "box", "keypoints", "mask"]


class Engine(torch.nn.Module):
    def __init__(self, network, method):
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, *inputs):
        return tuple(getattr(self.network, self.method)(*inputs))


def export(network, method, names, inputs, strategy):
    # In evaluation mode by itself: the exporter puts a module back into the mode of its outermost wrapper.
    engine = Engine(network, method).eval()
    buffer = io.BytesIO()
    with deform_attn(strategy), plugin_node(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            engine, inputs, buffer, opset_version=17, dynamo=False, input_names=names, output_names=OUTPUTS
        )
        expected = engine(*inputs)
    return embed_function(onnx.load_from_string(buffer.getvalue())), expected


@pytest.mark.parametrize(
    ("method", "strategy"),
    [("vision", "gather"), ("vision", "gridsample"), ("vision", "plugin"), ("positional", "gather")],
)
def test_exported_engines_equal_the_network(small_network, method, strategy):
    network = small_network()
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0]])
    with torch.no_grad():
        tokens, sentence = network.encode_text(torch.tensor([[1, 2, 3, 0]]), mask)
    feeds = {
        "vision": {"image": image, "text_tokens": tokens, "text_mask": mask, "sentence": sentence},
        "positional": {"image": image, "points": torch.rand(1, 12, 2, generator=torch.Generator().manual_seed(1))},
    }
    feed = feeds[method]
    model, expected = export(network, method, list(feed), tuple(feed.values()), strategy)

    kinds = {node.op_type for node in model.graph.node}
    assert ("GridSample" in kinds) == (strategy == "gridsample")
    assert (OP_TYPE in kinds) == (strategy == "plugin")
    assert not kinds & {"If", "Loop", "NonZero", "CumSum", "ScatterND"}
    for constant in model.graph.initializer:
        assert np.isfinite(onnx.numpy_helper.to_array(constant)).all()
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in model.graph.output}
    assert shapes == {"score": [1], "box": [1, 4], "keypoints": [1, 17, 3], "mask": [1, 16, 24]}

    session = ort.InferenceSession(model.SerializeToString())
    found = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})
    for name, ours, theirs in zip(OUTPUTS, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3 if name == "mask" else 1e-5, err_msg=name)
