"""Deformable attention as one ONNX node that also runs without the plugin.

The operator `humar::ms_deform_attn` becomes a node with the inputs and the output of NVIDIA's plugin
`MultiscaleDeformableAttnPlugin_TRT`. The model carries a function of the same name, written in standard operators:
onnxruntime runs that body instead. OpenVINO does not read functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from humar_edge.errors import MissingExtraError

if TYPE_CHECKING:
    import onnx

OP_TYPE = "MultiscaleDeformableAttnPlugin_TRT"
DOMAIN = "humar"
OPSET = 17
# Version and namespace under which this project's TensorRT plugin registers itself (runtime/csrc). With both attributes
# TensorRT prefers a registered plugin to the function body.
PLUGIN_VERSION = "1"
PLUGIN_NAMESPACE = "humar"

# (right, lower) neighbour of a sampling location.
_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))

_HEAD = f"""
<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>
{OP_TYPE} <plugin_version, plugin_namespace>
(value, spatial_shapes, level_start, locations, weights) => (output)
{{
  zero = Constant <value = int64 {{0}}> ()
  one = Constant <value = int64 {{1}}> ()
  first = Constant <value = int64[1] {{0}}> ()
  second = Constant <value = int64[1] {{1}}> ()
  third = Constant <value = int64[1] {{2}}> ()
  fourth = Constant <value = int64[1] {{3}}> ()
  last = Constant <value = int64[1] {{-1}}> ()
  samples = Constant <value = int64[2] {{3, 4}}> ()
  image_shape = Constant <value = int64[5] {{-1, 1, 1, 1, 1}}> ()
  head_shape = Constant <value = int64[5] {{1, 1, -1, 1, 1}}> ()
  half = Constant <value = float {{0.5}}> ()
  zero_float = Constant <value = float {{0.0}}> ()
  one_float = Constant <value = float {{1.0}}> ()

  dims = Shape (value)
  images = Gather <axis = 0> (dims, zero)
  cells = Gather <axis = 0> (dims, one)
  heads_vector = Gather <axis = 0> (dims, third)
  heads = Squeeze (heads_vector, first)
  depth = Gather <axis = 0> (dims, fourth)
  table_shape = Concat <axis = 0> (last, depth)
  value_float = Cast <to = 1> (value)
  table = Reshape (value_float, table_shape)
  rows_per_image = Mul (cells, heads)
  image_range = Range (zero, images, one)
  image_rows = Mul (image_range, rows_per_image)
  image_base = Reshape (image_rows, image_shape)
  head_range = Range (zero, heads, one)
  head_base = Reshape (head_range, head_shape)
  base = Add (image_base, head_base)

  sizes = Cast <to = 7> (spatial_shapes)
  start_vector = Cast <to = 7> (level_start)
  start = Unsqueeze (start_vector, second)
  height = Slice (sizes, first, second, second)
  width = Slice (sizes, second, third, second)
  height_float = Cast <to = 1> (height)
  width_float = Cast <to = 1> (width)
  height_last = Sub (height_float, one_float)
  width_last = Sub (width_float, one_float)

  places = Cast <to = 1> (locations)
  share = Cast <to = 1> (weights)
  x_relative = Gather <axis = -1> (places, zero)
  y_relative = Gather <axis = -1> (places, one)
  x_scaled = Mul (x_relative, width_float)
  y_scaled = Mul (y_relative, height_float)
  x = Sub (x_scaled, half)
  y = Sub (y_scaled, half)
  x0 = Floor (x)
  y0 = Floor (y)
  x1 = Add (x0, one_float)
  y1 = Add (y0, one_float)
  x_share1 = Sub (x, x0)
  y_share1 = Sub (y, y0)
  x_share0 = Sub (one_float, x_share1)
  y_share0 = Sub (one_float, y_share1)
"""

_SIDE = """
  {axis}_low{side} = GreaterOrEqual ({axis}{side}, zero_float)
  {axis}_high{side} = LessOrEqual ({axis}{side}, {size}_last)
  {axis}_inside{side} = And ({axis}_low{side}, {axis}_high{side})
  {axis}_mask{side} = Cast <to = 1> ({axis}_inside{side})
  {axis}_weight{side} = Mul ({axis}_share{side}, {axis}_mask{side})
  {axis}_floor{side} = Max ({axis}{side}, zero_float)
  {axis}_clamped{side} = Min ({axis}_floor{side}, {size}_last)
  {axis}_index{side} = Cast <to = 7> ({axis}_clamped{side})
"""

_CORNER = """
  row_{x}{y} = Mul (y_index{y}, width)
  in_level_{x}{y} = Add (row_{x}{y}, x_index{x})
  cell_{x}{y} = Add (in_level_{x}{y}, start)
  scaled_{x}{y} = Mul (cell_{x}{y}, heads)
  index_{x}{y} = Add (scaled_{x}{y}, base)
  read_{x}{y} = Gather <axis = 0> (table, index_{x}{y})
  area_{x}{y} = Mul (x_weight{x}, y_weight{y})
  weighted_{x}{y} = Mul (area_{x}{y}, share)
  factor_{x}{y} = Unsqueeze (weighted_{x}{y}, last)
  product_{x}{y} = Mul (read_{x}{y}, factor_{x}{y})
  sum_{x}{y} = ReduceSum <keepdims = 0> (product_{x}{y}, samples)
"""

_TAIL = """
  total = Sum (sum_00, sum_10, sum_01, sum_11)
  output = CastLike (total, value)
}
"""


def _onnx() -> Any:
    try:
        import onnx
        import onnx.parser
    except ImportError as error:
        raise MissingExtraError("onnx", "export") from error
    return onnx


def function_body() -> onnx.FunctionProto:
    """The node as a function of standard operators of opset 17, for any sizes; computes in FP32 whatever the inputs."""
    sides = [
        _SIDE.format(axis=axis, size=size, side=side)
        for axis, size in (("x", "width"), ("y", "height"))
        for side in (0, 1)
    ]
    corners = [_CORNER.format(x=x, y=y) for x, y in _CORNERS]
    text = "".join((_HEAD, *sides, *corners, _TAIL))
    function: onnx.FunctionProto = _onnx().parser.parse_function(text)
    return function


def embed_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a model that has such nodes the function body; a model without them, or with the body, stays as it is.

    Call it after simplification: simplifiers inline functions or refuse them.
    """
    uses = any(node.op_type == OP_TYPE and node.domain == DOMAIN for node in model.graph.node)
    if not uses or any(function.name == OP_TYPE for function in model.functions):
        return model
    function = function_body()
    (opset,) = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    # The checker wants one version of the standard operators; those of the body mean the same up to 19.
    function.opset_import[0].version = opset
    model.functions.append(function)
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(_onnx().helper.make_opsetid(DOMAIN, 1))
    # Functions need IR version 8.
    model.ir_version = max(model.ir_version, 8)
    return model


def inline_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every node replaced by the function body, for engines that read no functions (OpenVINO)."""
    import onnx.inliner

    inlined: onnx.ModelProto = onnx.inliner.inline_local_functions(embed_function(model))
    return inlined


def _symbolic(g: Any, value: Any, spatial_shapes: Any, level_start: Any, locations: Any, weights: Any) -> Any:
    node = g.op(
        f"{DOMAIN}::{OP_TYPE}",
        value,
        spatial_shapes,
        level_start,
        locations,
        weights,
        plugin_version_s=PLUGIN_VERSION,
        plugin_namespace_s=PLUGIN_NAMESPACE,
    )
    sizes = [value.type().sizes(), locations.type().sizes()]
    if all(sizes):
        images, _, heads, depth = sizes[0]
        node.setType(value.type().with_sizes([images, sizes[1][1], heads, depth]))
    return node


@contextmanager
def plugin_node() -> Iterator[None]:
    """While active, `torch.onnx.export(..., dynamo=False)` writes `humar::ms_deform_attn` as one node.

    Use it together with `deform_attn("plugin")` of `humar_edge.models.original.deformable`, then `embed_function`.
    """
    import torch

    torch.onnx.register_custom_op_symbolic("humar::ms_deform_attn", _symbolic, OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("humar::ms_deform_attn", OPSET)
