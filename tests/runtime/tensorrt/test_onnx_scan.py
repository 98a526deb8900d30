"""Reading an ONNX file without the onnx package, checked against files that the onnx package wrote."""

from __future__ import annotations

import pytest

from humar_edge.errors import BackendError
from humar_edge.runtime.tensorrt.onnx_scan import scan_onnx


def test_operators_types_and_functions(onnx_maker, tmp_path):
    facts = scan_onnx(onnx_maker(tmp_path / "a.onnx", operator="Special", half=True))
    assert facts.operators == {"Cast", "Mul", "ReduceMean", "Add", "Identity", "Special"}
    assert facts.weight_types == {1, 10}
    assert facts.functions == {"Special"}
    assert facts.precision == "fp16"


def test_plain_file_is_fp32(onnx_maker, tmp_path):
    assert scan_onnx(onnx_maker(tmp_path / "a.onnx")).precision == "fp32"


def test_quantised_and_nested(tmp_path):
    from onnx import TensorProto, helper

    inner = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["q", "s"], ["y"])],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "outer",
        [value("c", TensorProto.BOOL, [1]), value("q", TensorProto.INT8, [1])],
        [value("z", TensorProto.FLOAT, [1])],
        [helper.make_tensor("s", TensorProto.FLOAT, [], [0.5])],
    )
    (tmp_path / "q.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    facts = scan_onnx(tmp_path / "q.onnx")
    assert facts.operators == {"If", "DequantizeLinear"}
    assert facts.precision == "int8"


def test_every_truncation_is_an_error_or_still_readable(small, tmp_path):
    content = small.read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        try:
            scan_onnx(tmp_path / "cut.onnx")
        except BackendError as error:
            assert "as ONNX" in str(error)


def test_a_picture_is_not_onnx(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(BackendError, match="cannot read"):
        scan_onnx(tmp_path / "x.onnx")
