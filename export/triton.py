"""A model repository for NVIDIA Triton from a bundle: one model per engine, and ensembles from token ids to results.

Layout and fields are those of Triton's documentation (model repository, model configuration, ensemble models, ONNX
Runtime backend). Names, shapes and types come from the ONNX files, and what was written is read back and compared with
them. Nothing here has run on a server yet.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humar_edge.bundle import Bundle
from humar_edge.errors import ConfigError, ExportError, MissingExtraError
from humar_edge.export.pbtxt import Word, to_pbtxt

if TYPE_CHECKING:
    import onnx

PREFIX = "humar_"
ENSEMBLE = "humar_edge"
BATCHED = "_batch"
"""End of the names of the variants with dynamic batching."""

VERSION = "1"
MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
ACCELERATORS = ("tensorrt", "none")

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 3: "TYPE_INT8", 6: "TYPE_INT32", 7: "TYPE_INT64", 10: "TYPE_FP16"}
"""Element type of ONNX -> Triton's."""

TENSORRT = {
    "max_workspace_size_bytes": str(1 << 30),
    "trt_engine_cache_enable": "1",
    "trt_engine_cache_path": "/tmp/humar-edge-triton",
}
"""Parameters of the backend's TensorRT accelerator, besides the precision."""

QUEUE_DELAY_US = 2000
"""How long a request waits for others to share a batch with."""


@dataclass(frozen=True)
class Written:
    """A repository that was written.

    Attributes:
        path: Its folder.
        models: Names of the models.
        unbatched: Engines whose graphs do not take batches.
    """

    path: Path
    models: list[str]
    unbatched: list[str]


def write_repository(path: Path, bundle: Bundle, *, accelerator: str = "tensorrt", max_batch: int = 8) -> Written:
    """Write a model repository under a temporary name, check it against the ONNX files, and rename it.

    `humar_text` and `humar_vision` (and positional, features and prompt engines that the bundle has) take one request
    at a time (`max_batch_size: 0`, shapes as in the graph); `humar_edge` is the ensemble of text and vision. Engines
    whose graph takes batches get a second model with dynamic batching, `humar_text_batch` and so on, and where both
    text and vision do, there is `humar_edge_batch`.

    Args:
        path: Folder of the repository; must not exist or be empty.
        bundle: What to serve.
        accelerator: "tensorrt" lets the ONNX Runtime backend build TensorRT engines; "none" runs on CUDA or the CPU.
        max_batch: Largest batch of the variants with dynamic batching; 1 writes none.

    Raises:
        ConfigError: An unknown accelerator.
        ExportError: The folder is in use, cannot be written, or does not agree with the ONNX files.
        MissingExtraError: onnx is not installed.
    """
    from humar_edge.export.triton_check import check_repository

    if accelerator not in ACCELERATORS:
        raise ConfigError(f"accelerator '{accelerator}': choose {' or '.join(ACCELERATORS)}")
    require_empty(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        unbatched = _write_models(temporary, bundle, accelerator, max_batch)
        models = check_repository(temporary)
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Written(path, models, unbatched)


def require_empty(path: Path) -> None:
    """Refuse a folder that no repository may be written to.

    Raises:
        ExportError: It is in use, or the current folder, which cannot be renamed away.
    """
    if path.resolve() == Path.cwd():
        raise ExportError(f"{path} is the current folder; name another one for the model repository")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ExportError(f"{path} exists; choose an empty folder for the model repository")


def _write_models(root: Path, bundle: Bundle, accelerator: str, max_batch: int) -> list[str]:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export") from error
    from humar_edge.export.batching import with_batch

    parts = [bundle.text_engine, bundle.vision_engine, bundle.positional_engine, *(bundle.split_engines or ())]
    graphs: dict[str, onnx.ModelProto] = {part.stem: onnx.load(str(part)) for part in parts if part is not None}
    batched: dict[str, onnx.ModelProto] = {}
    for name, model in graphs.items():
        _write_model(root, model_config(PREFIX + name, model, accelerator), model)
        free = with_batch(model) if max_batch > 1 else None
        if free is not None:
            batched[name] = free
            _write_model(root, model_config(PREFIX + name + BATCHED, free, accelerator, max_batch), free)
    _write_model(root, ensemble_config(graphs))
    if {"text", "vision"} <= set(batched):
        _write_model(root, ensemble_config(batched, max_batch))
    return sorted(set(graphs) - set(batched))


def _write_model(root: Path, config: Mapping[str, Any], model: onnx.ModelProto | None = None) -> None:
    folder = root / config["name"]
    # An ensemble has no file, but Triton asks for its version folder too.
    (folder / VERSION).mkdir(parents=True)
    (folder / CONFIG_FILE).write_text(to_pbtxt(config), encoding="utf-8")
    if model is not None:
        (folder / VERSION / MODEL_FILE).write_bytes(model.SerializeToString())


def model_config(name: str, model: onnx.ModelProto, accelerator: str, max_batch: int = 0) -> dict[str, Any]:
    """Configuration of one engine; with `max_batch` the first dimension is the batch, which Triton leaves out."""
    graph = model.graph
    config: dict[str, Any] = {
        "name": name,
        "backend": "onnxruntime",
        "max_batch_size": max_batch,
        "input": [tensor(value, batched=max_batch > 0) for value in graph.input],
        "output": [tensor(value, batched=max_batch > 0) for value in graph.output],
    }
    if max_batch:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": QUEUE_DELAY_US}
    if accelerator == "tensorrt":
        options = {"precision_mode": precision_mode(model), **TENSORRT, "trt_engine_cache_prefix": name}
        parameters = [{"key": key, "value": value} for key, value in options.items()]
        accelerators = {"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": parameters}]}
        config["instance_group"] = [{"count": 1, "kind": Word("KIND_GPU")}]
        config["optimization"] = {"execution_accelerators": accelerators}
    return config


def ensemble_config(engines: Mapping[str, onnx.ModelProto], max_batch: int = 0) -> dict[str, Any]:
    """Token ids and a picture in, a detection out: the text engine's features go straight to the vision engine."""
    text, vision, end = engines["text"].graph, engines["vision"].graph, BATCHED if max_batch else ""
    # Both engines take the mask of the prompt's tokens, each under a name of its own.
    given = {value.name for value in text.output} | {"text_mask"}
    inputs = [*text.input, *(value for value in vision.input if value.name not in given)]
    sources = {value.name: value.name for value in vision.input} | {"text_mask": "attention_mask"}
    return {
        "name": ENSEMBLE + end,
        "platform": "ensemble",
        "max_batch_size": max_batch,
        "input": [tensor(value, batched=max_batch > 0) for value in inputs],
        "output": [tensor(value, batched=max_batch > 0) for value in vision.output],
        "ensemble_scheduling": {
            "step": [
                _step(f"{PREFIX}text{end}", text, {value.name: value.name for value in text.input}),
                _step(f"{PREFIX}vision{end}", vision, sources),
            ]
        },
    }


def _step(name: str, graph: onnx.GraphProto, sources: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model_name": name,
        "model_version": -1,
        "input_map": [{"key": key, "value": value} for key, value in sources.items()],
        "output_map": [{"key": value.name, "value": value.name} for value in graph.output],
    }


def tensor(value: onnx.ValueInfoProto, *, batched: bool = False) -> dict[str, Any]:
    """Name, type and dimensions of an input or output; -1 where the graph leaves a dimension open.

    Raises:
        ExportError: Triton has no such type.
    """
    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        raise ExportError(f"'{value.name}' has ONNX element type {kind.elem_type}, which Triton does not take here")
    dims = [dimension.dim_value if dimension.HasField("dim_value") else -1 for dimension in kind.shape.dim]
    # A tensor that is one number per request has no dimension left; Triton wants one, and reshapes.
    left = dims[1:] if batched else dims
    found = {"name": value.name, "data_type": Word(TYPES[kind.elem_type]), "dims": left or [1]}
    return found if left else {**found, "reshape": {"shape": []}}


def precision_mode(model: onnx.ModelProto) -> str:
    """The accelerator's precision that a graph was made for: INT8 with Q/DQ nodes, FP16 with half floats, else FP32."""
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        return "INT8"
    half = 10
    return "FP16" if any(constant.data_type == half for constant in model.graph.initializer) else "FP32"
