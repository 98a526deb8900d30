"""A graph of batch 1 as one of any batch, where its operators allow that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from humar_edge.export.parity import Arrays, onnx_run

if TYPE_CHECKING:
    import onnx

BATCH = "batch"
TRIED = 3
"""Batch that is compared with single runs."""

TOLERANCE = 1e-4
"""Of results relative to their largest value: kernels for batches add up in another order."""


def with_batch(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The graph with a free first dimension, None when it does not give the results of single runs.

    Shapes in Reshape and Expand that start with the batch are freed; whether that was right is not concluded from the
    operators but from a batch of different inputs, which must give what the inputs give alone.

    Args:
        model: A graph whose inputs and outputs all start with a dimension of 1.
    """
    freed = _freed(model)
    if freed is None:
        return None
    singles = [_random(model, seed) for seed in range(TRIED)]
    batch = {name: np.concatenate([sample[name] for sample in singles]) for name in singles[0]}
    alone = onnx_run(model)
    expected = [alone(sample) for sample in singles]
    try:
        found = onnx_run(freed, log_level=4)(batch)
    except Exception:  # onnxruntime's exceptions share no base class; any of them says that the graph does not allow it
        return None
    for name, values in found.items():
        wanted = np.concatenate([sample[name] for sample in expected])
        if values.shape != wanted.shape or not np.allclose(values, wanted, atol=TOLERANCE * (np.abs(wanted).max() + 1)):
            return None
    return freed


def _freed(model: onnx.ModelProto) -> onnx.ModelProto | None:
    import onnx
    from onnx import numpy_helper

    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    graph = freed.graph
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if not dimensions or dimensions[0].dim_value != 1:
            return None
        dimensions[0].dim_param = BATCH
    del graph.value_info[:]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None:
            continue
        sizes = numpy_helper.to_array(shape).copy()
        if sizes.size and sizes[0] == 1:
            # The batch takes what the other sizes leave; where another size is open, it is copied from the input.
            sizes[0] = 0 if (sizes == -1).any() else -1
            free = numpy_helper.from_array(sizes, f"{shape.name}/free_{index}")
            graph.initializer.append(free)
            node.input[1] = free.name
    return freed


def _random(model: onnx.ModelProto, seed: int) -> Arrays:
    """Inputs of one run: noise, and zeros and ones where whole numbers are read (token ids, masks, cells)."""
    from onnx import helper

    generator = np.random.default_rng(seed)
    found: Arrays = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dimension.dim_value for dimension in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype == np.uint8:
            found[value.name] = generator.integers(0, 256, shape, dtype=np.uint8)
        elif dtype.kind == "i":
            found[value.name] = generator.integers(0, 2, shape).astype(dtype)
            found[value.name][:, 0] = 1
        else:
            found[value.name] = generator.standard_normal(shape).astype(dtype)
    return found
