"""From a PyTorch module to a simplified ONNX model of standard operators."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from humar_edge.errors import ConfigError, ExportError, MissingExtraError
from humar_edge.export.engines import Engine

if TYPE_CHECKING:
    import onnx

OPSETS = range(17, 20)
"""17 keeps LayerNormalization one node; from 20 on TensorRT reads GridSample wrongly."""

SKIPPED = [
    # They lose the node names that precision plans refer to.
    "fuse_matmul_add_bias_into_gemm",
    "fuse_matmul_add_bias_into_gemm_batched",
    "fuse_qkv",
    # It makes com.microsoft::Attention, which only onnxruntime has.
    "fuse_attention",
    # The choice is the user's (--deform-attn).
    "rewrite_gridsample_to_gather",
]
"""Simplifications that are left out."""


def onnx_modules() -> tuple[Any, Any]:
    """The modules onnx and onnxsim.

    Raises:
        MissingExtraError: One is not installed.
    """
    try:
        import onnx
        import onnxsim
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "export") from error
    return onnx, onnxsim


def to_onnx(engine: Engine, opset: int = 17, deform_attn: str = "gather") -> onnx.ModelProto:
    """Trace, simplify and check one engine.

    Args:
        engine: From `humar_edge.export.engines`.
        opset: 17 to 19.
        deform_attn: How deformable attention is written: gather, gridsample or plugin.

    Raises:
        ConfigError: The opset is out of range.
        ExportError: PyTorch or the simplifier cannot handle the graph.
    """
    onnx, onnxsim = onnx_modules()
    if opset not in OPSETS:
        raise ConfigError(f"--opset {opset}: choose {OPSETS.start} to {OPSETS.stop - 1}")
    from humar_edge.export.deform_attn import embed_function, plugin_node
    from humar_edge.export.maps import separate_maps
    from humar_edge.models.original.deformable import deform_attn as lowering

    sample = engine.samples[0]
    # Typed as a path upstream, taken as a stream by the tracing exporter.
    buffer: Any = io.BytesIO()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(quiet())
        stack.enter_context(lowering(deform_attn))
        if deform_attn == "plugin":
            stack.enter_context(plugin_node())
        try:
            torch.onnx.export(
                engine.module,
                tuple(sample.values()),
                buffer,
                input_names=list(sample),
                output_names=list(engine.outputs),
                opset_version=opset,
                dynamo=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ExportError(f"{engine.name} engine: PyTorch cannot export it ({_line(error)})") from error
        model = onnx.load_from_string(buffer.getvalue())
        try:
            model, same = onnxsim.simplify(model, check_n=0, skipped_optimizers=SKIPPED)
        except Exception as error:  # the library raises plain Exception
            raise ExportError(f"{engine.name} engine: simplification failed ({_line(error)})") from error
    if not same:
        raise ExportError(f"{engine.name} engine: simplification changed the results")
    model = tidy(model)
    separate_maps(model)
    model = embed_function(model)
    onnx.checker.check_model(model)
    return model


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants become initialisers, nodes get unique names, and no path of this machine stays in the file."""
    from onnx import helper, numpy_helper

    graph, kept = model.graph, []
    for node in graph.node:
        value = next((item for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = numpy_helper.from_array(numpy_helper.to_array(value.t), node.output[0])
            graph.initializer.append(tensor)
        else:
            kept.append(node)
    seen: set[str] = set()
    for index, node in enumerate(kept):
        if "/" not in node.name and "/" in node.output[0]:
            node.name = f"{node.output[0].removesuffix('_output_0')}/{node.op_type}"
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{index}"
        seen.add(node.name)
        node.doc_string = ""
        del node.metadata_props[:]
    del graph.node[:]
    graph.node.extend(kept)
    graph.name = "humar_edge"
    model.producer_name = "humar-edge"
    model.producer_version = ""
    helper.set_model_props(model, {})
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of tracing and what native code prints; errors still come as exceptions."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(number) for number in (1, 2)]
    with open(os.devnull, "wb") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for number in (1, 2):
                os.dup2(sink.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
