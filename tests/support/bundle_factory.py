"""A tiny but real bundle: its "person" is the one rectangle of the colour that the prompt names.

The text engine turns the words red, green and blue into a one-hot colour; the vision engine looks for pixels of that
colour and answers their bounding box, 17 keypoints at fixed places in it (`POSE`), and a mask. The positional engine
takes the colour under the points. So every answer can be computed by hand, and comes through real engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from humar_edge.bundle import Bundle, write_bundle

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "the", "person", "man", "woman", "in")
COLOURS_BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
VISIBILITY = 0.9
FOUND_SCORE, ABSENT_SCORE = 0.95, 0.05

POSE = np.array(
    [
        (0.50, 0.10), (0.54, 0.07), (0.46, 0.07), (0.60, 0.09), (0.40, 0.09), (0.72, 0.24), (0.28, 0.24), (0.84, 0.38),
        (0.16, 0.38), (0.90, 0.52), (0.10, 0.52), (0.64, 0.54), (0.36, 0.54), (0.66, 0.74), (0.34, 0.74), (0.68, 0.95),
        (0.32, 0.95),
    ],
    dtype=np.float32,
)  # fmt: skip
"""Keypoints (x, y) in [0, 1] of the box."""


def scene(size: tuple[int, int], boxes: dict[str, tuple[int, int, int, int]]) -> np.ndarray:
    """A grey uint8 BGR frame of (height, width) with one rectangle (left, top, right, bottom) per colour."""
    frame = np.full((*size, 3), 128, dtype=np.uint8)
    for colour, (left, top, right, bottom) in boxes.items():
        frame[top:bottom, left:right] = COLOURS_BGR[colour]
    return frame


def write_tiny_bundle(
    path: Path,
    *,
    input_size: tuple[int, int] = (96, 128),
    token_length: int = 32,
    width: int = 8,
    trained: bool = True,
    positional: bool = True,
    split: bool = False,
) -> Bundle:
    """Write the bundle; see the module's text for what its engines do. `split`: also features and prompt engines."""
    files: dict[str, Path | bytes] = {
        "text.onnx": _text_engine(token_length, width).SerializeToString(),
        "vision.onnx": _vision_engine(input_size, token_length, width).SerializeToString(),
        "tokenizer.json": _tokenizer().to_str().encode(),
    }
    if positional:
        files["positional.onnx"] = _positional_engine(input_size).SerializeToString()
    if split:
        files["features.onnx"] = _features_engine(input_size).SerializeToString()
        files["prompt.onnx"] = _vision_engine(input_size, token_length, width, split=True).SerializeToString()
    manifest = {
        "name": "tiny",
        "combo": "edge-lite",
        "components": {
            "transformer_type": "fully_conv_optim",
            "text_encoder_type": "minilm",
            "backbone": "efficientnet_lite0",
        },
        "input_size": list(input_size),
        "token_length": token_length,
        "width": width,
        "precision": {"text": "fp32", "vision": "fp32", "positional": "fp32"},
        "trained": trained,
        "licence": "Apache-2.0",
    }
    return write_bundle(path, manifest, files)


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


class _Graph:
    """Collects nodes and constants; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def cast(self, name: str, to: int = TensorProto.FLOAT) -> str:
        return self.add("Cast", name, to=to)

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: dict[str, Sequence[int]]) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "tiny", list(inputs), results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def _value(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _text_engine(length: int, width: int) -> onnx.ModelProto:
    table = np.zeros((len(WORDS), width), dtype=np.float32)
    for column, colour in enumerate(COLOURS_BGR):
        table[WORDS.index(colour), column] = 1
    graph = _Graph()
    words = graph.add("Gather", graph.constant(table), "input_ids")
    mask = graph.add("Unsqueeze", graph.cast("attention_mask"), graph.constant([2], np.int64))
    tokens = graph.add("Mul", words, mask, output="text_tokens")
    graph.add("ReduceMax", tokens, axes=[1], keepdims=0, output="sentence")
    inputs = [_value(name, TensorProto.INT64, 1, length) for name in ("input_ids", "attention_mask")]
    return graph.model(inputs, {"text_tokens": (1, length, width), "sentence": (1, width)})


def _excess(graph: _Graph) -> str:
    """How much each of red, green and blue exceeds the two others together, [1, H, W, 3] in [0, 1]."""
    image = graph.add("Div", graph.cast("image"), graph.constant(255))
    total = graph.add("ReduceSum", image, graph.constant([3], np.int64), keepdims=1)
    return graph.add("Relu", graph.add("Sub", graph.add("Mul", image, graph.constant(2)), total))


def _answers(graph: _Graph, excess: str, colour: str, size: tuple[int, int]) -> dict[str, Sequence[int]]:
    """From the colour to look for, [1, 3], to the four outputs."""
    height, width = size
    found = graph.add("Mul", excess, graph.add("Reshape", colour, graph.constant([1, 1, 1, 3], np.int64)))
    heat = graph.add("ReduceSum", found, graph.constant([3], np.int64), keepdims=0)
    pixels = graph.cast(graph.add("Greater", heat, graph.constant(0.5)))
    low, high = [], []
    for other_axis, side in ((1, width), (2, height)):
        line = graph.add("ReduceMax", pixels, axes=[other_axis], keepdims=0)
        ascending = graph.add("Mul", line, graph.constant(np.arange(1, side + 1)))
        descending = graph.add("Mul", line, graph.constant(np.arange(side, 0, -1)))
        end = graph.add("Div", graph.add("ReduceMax", ascending, axes=[1], keepdims=1), graph.constant(side))
        back = graph.add("Div", graph.add("ReduceMax", descending, axes=[1], keepdims=1), graph.constant(side))
        low.append(graph.add("Sub", graph.constant(1), back))
        high.append(end)
    start, stop = graph.add("Concat", *low, axis=1), graph.add("Concat", *high, axis=1)
    extent = graph.add("Sub", stop, start)
    centre = graph.add("Mul", graph.add("Add", start, stop), graph.constant(0.5))
    graph.add("Concat", centre, extent, axis=1, output="box")
    scaled = graph.add("Mul", graph.add("Unsqueeze", extent, graph.constant([1], np.int64)), graph.constant(POSE[None]))
    places = graph.add("Add", scaled, graph.add("Unsqueeze", start, graph.constant([1], np.int64)))
    graph.add("Concat", places, graph.constant(np.full((1, 17, 1), VISIBILITY)), axis=2, output="keypoints")
    present = graph.add("ReduceMax", pixels, axes=[1, 2], keepdims=0)
    span = graph.add("Mul", present, graph.constant(FOUND_SCORE - ABSENT_SCORE))
    graph.add("Add", span, graph.constant(ABSENT_SCORE), output="score")
    cells = graph.add(
        "AveragePool",
        graph.add("Unsqueeze", pixels, graph.constant([1], np.int64)),
        kernel_shape=[4, 4],
        strides=[4, 4],
    )
    logits = graph.add("Mul", graph.add("Sub", cells, graph.constant(0.5)), graph.constant(20))
    graph.add("Squeeze", logits, graph.constant([1], np.int64), output="mask")
    return {"score": (1,), "box": (1, 4), "keypoints": (1, 17, 3), "mask": (1, height // 4, width // 4)}


def _features_engine(size: tuple[int, int]) -> onnx.ModelProto:
    """The colours' excess, blue first, and where red, green and blue are: what is known before the prompt is read."""
    graph = _Graph()
    reversed_places = graph.constant([2, 1, 0], np.int64)
    graph.add("Gather", _excess(graph), reversed_places, axis=3, output="p2")
    graph.add("Unsqueeze", reversed_places, graph.constant([0], np.int64), output="cells")
    model = graph.model([_value("image", TensorProto.UINT8, 1, *size, 3)], {"p2": (1, *size, 3), "cells": (1, 3)})
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    return model


def _vision_engine(size: tuple[int, int], length: int, width: int, split: bool = False) -> onnx.ModelProto:
    graph = _Graph()
    mask = graph.add("Unsqueeze", graph.cast("text_mask"), graph.constant([2], np.int64))
    words = graph.add("ReduceMax", graph.add("Mul", "text_tokens", mask), axes=[1], keepdims=0)
    both = graph.add("Mul", words, "sentence")
    colour = graph.add("Slice", both, *(graph.constant([value], np.int64) for value in (0, 3, 1)))
    if split:
        places = graph.add("Reshape", "cells", graph.constant([3], np.int64))
        excess = graph.add("Gather", "p2", places, axis=3)
        picture = [_value("p2", TensorProto.FLOAT, 1, *size, 3), _value("cells", TensorProto.INT64, 1, 3)]
    else:
        excess, picture = _excess(graph), [_value("image", TensorProto.UINT8, 1, *size, 3)]
    outputs = _answers(graph, excess, colour, size)
    inputs = [
        *picture,
        _value("text_tokens", TensorProto.FLOAT, 1, length, width),
        _value("text_mask", TensorProto.INT64, 1, length),
        _value("sentence", TensorProto.FLOAT, 1, width),
    ]
    return graph.model(inputs, outputs)


def _positional_engine(size: tuple[int, int]) -> onnx.ModelProto:
    height, width = size
    graph = _Graph()
    excess = _excess(graph)
    pixels = graph.add("Floor", graph.add("Mul", "points", graph.constant([width, height])))
    inside = graph.add("Min", graph.add("Max", pixels, graph.constant(0)), graph.constant([width - 1, height - 1]))
    weights = graph.add("MatMul", inside, graph.constant([[1], [width]]))
    places = graph.add("Reshape", graph.cast(weights, TensorProto.INT64), graph.constant([12], np.int64))
    flat = graph.add("Reshape", excess, graph.constant([height * width, 3], np.int64))
    colours = graph.add("ReduceMean", graph.add("Gather", flat, places), axes=[0], keepdims=1)
    chosen = graph.cast(graph.add("Greater", colours, graph.constant(0.5)))
    outputs = _answers(graph, excess, chosen, size)
    inputs = [_value("image", TensorProto.UINT8, 1, height, width, 3), _value("points", TensorProto.FLOAT, 1, 12, 2)]
    return graph.model(inputs, outputs)
