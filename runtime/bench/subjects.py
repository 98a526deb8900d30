"""What can be measured: a bundle on a backend, or a network in PyTorch, behind the same stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError
from humar_edge.prompts import Prompt, TextPrompt
from humar_edge.results import Person
from humar_edge.runtime.bench.process import cpu_name
from humar_edge.runtime.memory import estimate_bundle
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.preprocess import Prepared
from humar_edge.runtime.runners import Runner, choose_backend, open_runner

GPU_STAGES = {"h2d_ms": "h2d", "compute_ms": "compute", "d2h_ms": "d2h", "enqueue_ms": "enqueue"}
"""Timings of the TensorRT runner -> stages of the report."""


class Stages(Protocol):
    """The stages of a frame; `humar_edge.runtime.predictor.Predictor` has them."""

    def encode(self, text: str) -> TextPrompt:
        """Encode a prompt; the same one is encoded once."""

    def preprocess(self, frame: np.ndarray) -> Prepared:
        """Frame to canvas."""

    def infer(self, prepared: Prepared, prompt: Prompt) -> dict[str, np.ndarray]:
        """Canvas and prompt to raw outputs."""

    def postprocess(self, raw: Mapping[str, np.ndarray], prepared: Prepared, prompt: Prompt) -> Person:
        """Raw outputs to a person."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class Label:
    """What is measured, for tables and file names.

    Attributes:
        model: Name of the bundle or network.
        combo: Its combination.
        backend: Where it runs.
        version: The backend's version.
        precision: Of the vision network.
        input_size: Height and width of the canvas.
        device: Processor or GPU.
        trained: False for random weights.
    """

    model: str
    combo: str
    backend: str
    version: str
    precision: str
    input_size: tuple[int, int]
    device: str
    trained: bool

    @property
    def size(self) -> str:
        """For example `384x640`."""
        return "x".join(map(str, self.input_size))

    def __str__(self) -> str:
        """For example `edge-lite fp32 384x384 on openvino`."""
        return f"{self.model} {self.precision} {self.size} on {self.backend}"


@dataclass
class Subject:
    """Something opened and ready to be measured.

    Attributes:
        label: What it is.
        stages: Its stages.
        engines: ONNX files by engine, for the memory estimate; empty for PyTorch.
        runners: Runners by engine; empty for PyTorch.
    """

    label: Label
    stages: Stages
    engines: dict[str, Path] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work."""
        return self.label.backend == "tensorrt"

    def gpu_split(self) -> dict[str, float]:
        """Milliseconds of copies, network and enqueueing of the last frame; empty without a GPU."""
        timings: dict[str, float] = getattr(self.runners.get("vision"), "timings", {})
        return {stage: timings[key] for key, stage in GPU_STAGES.items() if key in timings}

    def device_memory(self) -> dict[str, int]:
        """Measured bytes on the GPU, summed over the engines; empty without one."""
        if not self.on_gpu:
            return {}
        each = [runner.memory() for runner in self.runners.values()]  # type: ignore[attr-defined]
        parts = ("engine", "activations", "io", "pinned", "device_total", "device_peak")
        return {part: sum(getattr(memory, part) for memory in each) for part in parts}

    def graph_memory(self) -> dict[str, int]:
        """Estimated bytes from the graphs, summed over the engines; empty where the graphs cannot be read."""
        try:
            estimates = estimate_bundle(self.engines).values()
        except BackendError:
            return {}
        parts = ("weights", "activations", "io", "total")
        return {part: sum(getattr(estimate, part) for estimate in estimates) for part in parts} if estimates else {}

    def close(self) -> None:
        """Free everything."""
        self.stages.close()


def open_bundle(bundle: Bundle, backend: str | None = None, threads: int | None = None) -> Subject:
    """Open a bundle on a backend; TensorRT measures the parts of a frame with CUDA events.

    Raises:
        BackendError: The backend is missing or cannot run the engines.
    """
    name = choose_backend(backend)
    runners: dict[str, Runner] = {}

    def opener(path: Path, backend: str, threads: int | None) -> Runner:
        runner: Any
        if backend == "tensorrt":
            from humar_edge.runtime.runners.tensorrt import TensorRTRunner

            runner = TensorRTRunner(path, threads=threads, timing=True)
        else:
            runner = open_runner(path, backend, threads)
        runners[path.stem] = runner
        return runner

    predictor = Predictor(bundle, name, threads, opener=opener)
    manifest = bundle.manifest
    label = Label(
        model=manifest.name,
        combo=manifest.combo,
        backend=name,
        version=backend_version(name),
        precision=manifest.precision.get("vision", "unknown"),
        input_size=manifest.input_size,
        device=predictor.device if name == "tensorrt" else cpu_name(),
        trained=manifest.trained,
    )
    return Subject(label, predictor, {"text": bundle.text_engine, "vision": bundle.vision_engine}, runners)


def backend_version(name: str) -> str:
    """Version of a backend's package, the build number left out; "unknown" when it is no package."""
    if name == "tensorrt":
        from humar_edge.runtime.tensorrt import load_tensorrt

        return str(load_tensorrt().__version__)
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "unknown"
