"""Ranges of a graph's tensors over calibration images: gathered image by image, kept in a cache file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from humar_edge.calibration.statistics import METHODS, Histogram
from humar_edge.errors import DataError, MissingExtraError
from humar_edge.files import write_text

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Ranges:
    """Largest value to represent, by tensor and by method.

    Attributes:
        key: What they are valid for (weights, images, preprocessing).
        images: How many images they come from.
        tensors: Tensor -> method -> value.
        chosen: Which images, for people.
    """

    key: str
    images: int
    tensors: dict[str, dict[str, float]]
    chosen: list[str] = field(default_factory=list)

    def values(self, method: str) -> dict[str, float]:
        """Tensor -> value by one method."""
        return {name: by_method[method] for name, by_method in self.tensors.items()}

    def save(self, path: Path) -> None:
        """Write them; a killed calibration leaves no cache.

        Raises:
            SinkError: The file cannot be written.
        """
        write_text(path, json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path, key: str, tensors: Iterable[str]) -> Ranges | None:
        """Read a cache; None when there is none, it is damaged, for something else, or lacks some of the tensors."""
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            found = cls(**data)
        except (OSError, ValueError, TypeError):
            return None
        return found if found.key == key and set(tensors) <= set(found.tensors) else None


def collect_ranges(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    reader: Iterable[Mapping[str, np.ndarray]],
    *,
    key: str = "",
    chosen: Iterable[str] = (),
    on_image: Callable[[], None] | None = None,
) -> Ranges:
    """Run a model on all inputs of a reader and gather statistics of some tensors.

    Args:
        model: FP32.
        tensors: Names of intermediate tensors or inputs.
        reader: Inputs, one image at a time; only one is held.
        key: What the result is valid for.
        chosen: Names of the images.
        on_image: Called after every image.

    Raises:
        DataError: The reader is empty.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(error.name or "onnxruntime", "export") from error
    names = sorted(set(tensors))
    inputs = {value.name for value in model.graph.input}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in inputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Fusions would remove the tensors that are asked for.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    histograms = {name: Histogram() for name in names}
    images = 0
    for feed in reader:
        for name, values in zip(outputs, session.run(outputs, dict(feed)), strict=True):
            histograms[name].update(values)
        for name in inputs & set(names):
            histograms[name].update(np.asarray(feed[name]))
        images += 1
        if on_image is not None:
            on_image()
    if not images:
        raise DataError("no calibration image could be read")
    found = {
        name: {method: float(f"{function(histogram):.6g}") for method, function in METHODS.items()}
        for name, histogram in histograms.items()
    }
    return Ranges(key, images, found, list(chosen))
