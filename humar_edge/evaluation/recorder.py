"""A predictor that keeps the raw outputs of its engine, whatever it runs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from humar_edge.evaluation.predictors import FramePredictor, TorchPredictor
from humar_edge.prompts import Prompt, TextPrompt
from humar_edge.results import Person

DETECTION = ("score", "box", "keypoints", "mask")


class Recorder:
    """Wraps a predictor; a context manager, because PyTorch networks need a hook that must go again.

    Attributes:
        outputs: Arrays of the last prediction by name, as in the engines' contract (docs/contracts.md).
    """

    def __init__(self, predictor: FramePredictor) -> None:
        self.predictor = predictor
        self.backend, self.device, self.threshold = predictor.backend, predictor.device, predictor.threshold
        self.outputs: dict[str, np.ndarray] = {}
        self._predict: Callable[[np.ndarray, Prompt | str], Person] = self._staged
        self._hook: Any = None
        if isinstance(predictor, TorchPredictor):
            self._predict = predictor.predict
            self._hook = predictor.network.register_forward_hook(self._keep)

    def encode(self, text: str) -> TextPrompt:
        """Encode a text prompt."""
        return self.predictor.encode(text)

    def predict(self, frame: np.ndarray, prompt: Prompt | str) -> Person:
        """Find the person in a uint8 BGR frame [H, W, 3] and keep the outputs."""
        return self._predict(frame, prompt)

    def close(self) -> None:
        """Stop recording; the predictor stays open."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def __enter__(self) -> Recorder:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop recording."""
        self.close()

    def _staged(self, frame: np.ndarray, prompt: Prompt | str) -> Person:
        predictor: Any = self.predictor
        prompt = predictor.encode(prompt) if isinstance(prompt, str) else prompt
        prepared = predictor.preprocess(frame)
        start = time.perf_counter()
        self.outputs = predictor.infer(prepared, prompt)
        elapsed = (time.perf_counter() - start) * 1e3
        person: Person = predictor.postprocess(self.outputs, prepared, prompt, {"inference": elapsed})
        return person

    def _keep(self, _module: Any, _inputs: Any, outputs: Any) -> None:
        values = [value.detach().float().cpu().numpy() for value in outputs if value is not None]
        self.outputs = dict(zip(DETECTION, values, strict=False))
