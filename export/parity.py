"""Do two implementations of an engine agree? Per output: the largest difference and the tolerance it needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from humar_edge.errors import ExportError, MissingExtraError
from humar_edge.export.engines import Engine

if TYPE_CHECKING:
    import onnx

Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]

TOLERANCES: dict[str, float] = {
    "text_tokens": 1e-3,
    "sentence": 1e-3,
    **dict.fromkeys(("p2", "p3", "p4", "p5"), 2e-3),
    "score": 1e-4,
    "box": 1e-3,
    "keypoints": 1e-3,
    "mask": 2e-3,
}
"""Largest allowed difference of an FP32 graph to PyTorch for values around one; 1e-3 of the canvas is a third of a
pixel at 384. Extreme inputs (noise and random points) make a trained network amplify rounding to about that; weights
rounded to half, swapped colours or a shifted convolution exceed it. What the features engine says of people has no
tolerance, because rounding may change the order of equally good candidates; both parts together have the last four."""

RELATIVE = 1e-4
"""Allowed beside it, as a share of the largest value: rounding grows with the values (mask logits reach 100)."""


@dataclass(frozen=True)
class Difference:
    """One output compared over several inputs.

    Attributes:
        output: Its name.
        maximum: Largest absolute difference.
        mean: Mean absolute difference.
        scale: Largest absolute value of the reference.
        tolerance: What is allowed for values around one; None where the task metrics decide instead.
    """

    output: str
    maximum: float
    mean: float
    scale: float
    tolerance: float | None

    @property
    def limit(self) -> float | None:
        """Largest difference allowed at this scale."""
        return None if self.tolerance is None else self.tolerance + RELATIVE * self.scale

    @property
    def passed(self) -> bool:
        """Whether it is finite and within the limit."""
        return bool(np.isfinite(self.maximum)) and (self.limit is None or self.maximum <= self.limit)

    def __str__(self) -> str:
        """One line for people."""
        limit = "" if self.limit is None else f", tolerance {self.limit:.1e}"
        return f"{self.output}: max difference {self.maximum:.2e} (values up to {self.scale:.3g}{limit})"

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        rounded = {key: float(f"{value:.3g}") for key, value in asdict(self).items() if isinstance(value, float)}
        return {**rounded, "tolerance": self.limit and float(f"{self.limit:.3g}")}


def compare(
    reference: Run, other: Run, samples: Iterable[Mapping[str, np.ndarray]], tolerances: Mapping[str, float]
) -> list[Difference]:
    """Run both on the same inputs, one at a time, and compare all outputs."""
    maximum: dict[str, float] = {}
    scale: dict[str, float] = {}
    means: dict[str, list[float]] = {}
    for sample in samples:
        expected, found = reference(sample), other(sample)
        for name, values in expected.items():
            difference = np.abs(values.astype(np.float64) - found[name].astype(np.float64))
            # A NaN must not hide behind a comparison that is always false.
            worst = float(difference.max()) if np.isfinite(difference).all() else float("inf")
            maximum[name] = max(maximum.get(name, 0.0), worst)
            scale[name] = max(scale.get(name, 0.0), float(np.abs(values).max()))
            means.setdefault(name, []).append(float(difference.mean()))
    return [
        Difference(name, maximum[name], float(np.mean(means[name])), scale[name], tolerances.get(name))
        for name in maximum
    ]


def require(differences: Iterable[Difference], what: str) -> None:
    """Raise an ExportError when an output is over its tolerance."""
    failed = [str(difference) for difference in differences if not difference.passed]
    if failed:
        raise ExportError(f"{what}: {'; '.join(failed)}")


def torch_run(engine: Engine) -> Run:
    """The engine in PyTorch."""
    import torch

    def run(sample: Mapping[str, np.ndarray]) -> Arrays:
        with torch.no_grad():
            outputs = engine.module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in sample.values()))
        return {name: value.numpy() for name, value in zip(engine.outputs, outputs, strict=True)}

    return run


def onnx_run(model: onnx.ModelProto, log_level: int = 3) -> Run:
    """A model in onnxruntime on the CPU; log level 3 prints errors, 4 does not."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "export") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = log_level
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(sample: Mapping[str, np.ndarray]) -> Arrays:
        return dict(zip(names, session.run(names, dict(sample)), strict=True))

    return run


def arrays(engine: Engine) -> list[Arrays]:
    """The engine's samples as numpy arrays."""
    return [{name: tensor.numpy() for name, tensor in sample.items()} for sample in engine.samples]


def check_export(engine: Engine, model: onnx.ModelProto) -> list[Difference]:
    """Compare an exported FP32 model with PyTorch.

    Raises:
        ExportError: An output is over its tolerance.
    """
    differences = compare(torch_run(engine), onnx_run(model), arrays(engine), TOLERANCES)
    require(differences, f"{engine.name} engine does not agree with PyTorch")
    return differences
