"""Variants of one vision engine, measured on the same prompts: metrics, output errors and latency against FP32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import read_image
from humar_edge.errors import DataError
from humar_edge.evaluation.compare import LIMITED, figures_of
from humar_edge.evaluation.differences import OutputDifferences
from humar_edge.evaluation.evaluator import Evaluator, Prediction
from humar_edge.export.plan import Plan
from humar_edge.export.reduce import reduced
from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import Letterbox, prepare
from humar_edge.runtime.runners import Runner, open_runner

if TYPE_CHECKING:
    import onnx

TIMED = 20
"""Runs of each of two engines when their latency is compared."""


@dataclass(frozen=True)
class Measured:
    """One variant against FP32.

    Attributes:
        metrics: Task metrics, as `humar_edge.evaluation.compare.FIGURES`; without those that the data do not give.
        drops: What each lost against FP32 (negative: it gained).
        outputs: Differences of the raw outputs, as `OutputDifferences.summary`.
        milliseconds: Best time of one run.
        reference_milliseconds: The same of FP32, measured in turns.
        not_finite: Predictions with NaN.
    """

    metrics: dict[str, float]
    drops: dict[str, float]
    outputs: dict[str, dict[str, Any]]
    milliseconds: float
    reference_milliseconds: float
    not_finite: int = 0

    @property
    def gain(self) -> float:
        """Milliseconds saved against FP32."""
        return self.reference_milliseconds - self.milliseconds

    @property
    def worst_drop(self) -> float:
        """Largest loss of any metric that the limit applies to; infinite when there is NaN."""
        limited = [drop for name, drop in self.drops.items() if name in LIMITED]
        return float("inf") if self.not_finite else max(limited, default=0.0)

    def passes(self, max_drop: float) -> bool:
        """Whether no limited metric lost more than the limit. Rounded, so that exactly the limit passes."""
        return round(self.worst_drop, 9) <= max_drop


class Workbench:
    """Holds the prompts, their inputs and the FP32 results; a context manager.

    Args:
        model: FP32 vision engine.
        entries: Prompts to measure on; unreadable pictures are left out.
        encode: Caption -> `text_tokens`, `text_mask`, `sentence`.
        input_size: Height and width of the canvas.
        scratch: Folder for graphs.
        backend: Of the runtime; None takes the best.
        threads: CPU threads.
        threshold: Score from which the person counts as found.
        on_step: Called after every prompt of the FP32 run.

    Raises:
        DataError: No picture can be read, or nobody is in them.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        entries: Sequence[Entry],
        encode: Callable[[str], Mapping[str, np.ndarray]],
        input_size: tuple[int, int],
        scratch: Path,
        *,
        backend: str | None = None,
        threads: int | None = None,
        threshold: float = 0.5,
        on_step: Callable[[], None] | None = None,
    ) -> None:
        self.model = model
        self.backend, self.threads, self.threshold = backend, threads, threshold
        self._scratch, self._input_size = scratch, input_size
        self._pictures: dict[Path, tuple[np.ndarray, Letterbox] | None] = {}
        self._texts: dict[str, Mapping[str, np.ndarray]] = {}
        self._encode = encode
        self.entries = [entry for entry in entries if self._picture(entry) is not None]
        if not any(not entry.absent for entry in self.entries):
            raise DataError("the data to measure on hold no readable picture whose person is present")
        self._runner = self._open(model, "fp32")
        evaluator = Evaluator(threshold)
        self._outputs = list(self._run(self._runner, evaluator, on_step))
        self.reference = figures_of(evaluator.summary())

    @property
    def backend_name(self) -> str:
        """The backend in use."""
        return self._runner.name

    def build(self, plan: Plan, ranges: Mapping[str, float], shifts: Mapping[str, np.ndarray]) -> onnx.ModelProto:
        """The engine by a plan, as `humar-edge export` writes it."""
        return reduced(self.model, plan, ranges, shifts)

    def measure(self, model: onnx.ModelProto) -> Measured:
        """Run a variant on all prompts, then measure its latency and that of FP32 in turns."""
        evaluator, differences = Evaluator(self.threshold), OutputDifferences()
        with self._open(model, "variant") as runner:
            found = self._run(runner, evaluator)
            for expected, outputs in zip(self._outputs, found, strict=True):
                differences.update(expected, outputs)
            times = self._times(runner)
        metrics = figures_of(evaluator.summary())
        drops = {name: self.reference[name] - metrics[name] for name in metrics if name in self.reference}
        return Measured(metrics, drops, differences.summary(), times[1], times[0], evaluator.not_finite)

    def close(self) -> None:
        """Free the FP32 engine."""
        self._runner.close()

    def __enter__(self) -> Workbench:
        """The bench itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the FP32 engine."""
        self.close()

    def _open(self, model: onnx.ModelProto, name: str) -> Runner:
        path = self._scratch / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        return open_runner(path, self.backend, self.threads)

    def _picture(self, entry: Entry) -> tuple[np.ndarray, Letterbox] | None:
        if entry.image_path not in self._pictures:
            try:
                frame = read_image(entry.image_path)
            except DataError:
                self._pictures[entry.image_path] = None
            else:
                prepared = prepare(frame, self._input_size)
                fits = frame.shape[:2] == (entry.height, entry.width)
                self._pictures[entry.image_path] = (prepared.image, prepared.letterbox) if fits else None
        return self._pictures[entry.image_path]

    def _inputs(self, entry: Entry) -> tuple[dict[str, np.ndarray], Letterbox]:
        picture = self._picture(entry)
        assert picture is not None  # others were left out
        if entry.caption not in self._texts:
            self._texts[entry.caption] = self._encode(entry.caption)
        return {"image": picture[0], **self._texts[entry.caption]}, picture[1]

    def _run(
        self, runner: Runner, evaluator: Evaluator, on_step: Callable[[], None] | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Outputs of every entry, in order; the evaluator gets the decoded ones."""
        for entry in self.entries:
            inputs, letterbox = self._inputs(entry)
            outputs = runner.infer(inputs)
            evaluator.update(entry, _decoded(outputs, letterbox))
            if on_step is not None:
                on_step()
            yield outputs

    def _times(self, runner: Runner) -> tuple[float, float]:
        """Best time of FP32 and of a variant. The best, not the median: other programs only ever add time."""
        best = [float("inf"), float("inf")]
        for number in range(TIMED):
            inputs, _ = self._inputs(self.entries[number % len(self.entries)])
            for index, engine in enumerate((self._runner, runner)):
                start = time.perf_counter()
                engine.infer(inputs)
                best[index] = min(best[index], (time.perf_counter() - start) * 1e3)
        return best[0], best[1]


def _decoded(outputs: dict[str, np.ndarray], letterbox: Letterbox) -> Prediction:
    box = decode_box(outputs["box"], letterbox)
    finite = np.isfinite(outputs["box"]).all() and np.isfinite(outputs["mask"]).all()
    mask = decode_mask(outputs["mask"], box, letterbox) if finite else None
    return Prediction(
        float(outputs["score"].reshape(-1)[0]), box, decode_keypoints(outputs["keypoints"], letterbox), mask
    )
