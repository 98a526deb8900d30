"""TensorRT's types as numpy types. Its own `nptype` is not used: it broke with numpy 1.24 and may again."""

from __future__ import annotations

import numpy as np
import tensorrt as trt

from humar_edge.errors import BackendError

NUMPY: dict[trt.DataType, np.dtype] = {
    trt.DataType.FLOAT: np.dtype(np.float32),
    trt.DataType.HALF: np.dtype(np.float16),
    trt.DataType.INT8: np.dtype(np.int8),
    trt.DataType.INT32: np.dtype(np.int32),
    trt.DataType.INT64: np.dtype(np.int64),
    trt.DataType.BOOL: np.dtype(np.bool_),
    trt.DataType.UINT8: np.dtype(np.uint8),
}


def numpy_dtype(dtype: trt.DataType, tensor: str) -> np.dtype:
    """The numpy type of an input or output.

    Raises:
        BackendError: Names the tensor when numpy has no such type (bfloat16, FP8, ...).
    """
    if dtype not in NUMPY:
        raise BackendError(f"tensor '{tensor}' is {dtype.name}, which has no numpy type; export it as float32")
    return NUMPY[dtype]
