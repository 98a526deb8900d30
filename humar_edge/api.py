"""The Python interface: `HumarEdge(bundle).predict(image, text="...")`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from humar_edge.bundle import Bundle, default_bundle_path
from humar_edge.errors import PromptError
from humar_edge.prompts import Prompt, box_prompt, point_prompt, scribble_prompt
from humar_edge.results import Person
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.preprocess import read_image

_POSITIONAL = {"points": point_prompt, "scribble": scribble_prompt, "box": box_prompt}


class HumarEdge:
    """Finds the one person a prompt means.

    Example:
        >>> from humar_edge import HumarEdge
        >>> humar = HumarEdge()  # doctest: +SKIP
        >>> person = humar.predict("street.jpg", text="the woman in the red jacket")  # doctest: +SKIP
        >>> person.found, person.box_xyxy, person.keypoints.shape  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: str | Path | Bundle | None = None,
        backend: str | None = None,
        threads: int | None = None,
        score_threshold: float | None = None,
    ) -> None:
        """Open a bundle.

        Args:
            bundle: A bundle or its path; None takes the embedded one.
            backend: "tensorrt", "openvino" or "onnxruntime"; None takes the best one available.
            threads: CPU threads; None leaves it to the backend.
            score_threshold: Replaces the bundle's threshold, in [0, 1].

        Raises:
            HumarError: The bundle or the backend cannot be used; the message says what to do.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.load(default_bundle_path() if bundle is None else bundle)
        self._predictor = Predictor(bundle, backend, threads, score_threshold)

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._predictor.bundle

    @property
    def backend(self) -> str:
        """The backend in use."""
        return self._predictor.backend

    @property
    def device(self) -> str:
        """The device in use, for people to read."""
        return self._predictor.device

    def predict(
        self,
        image: str | Path | np.ndarray,
        text: str | None = None,
        *,
        points: object = None,
        scribble: object = None,
        box: object = None,
    ) -> Person:
        """Find the person in one picture. Exactly one prompt is given.

        Args:
            image: A picture's path, or uint8 BGR [H, W, 3] (also grey, BGRA and 16-bit).
            text: Words that describe one person.
            points: x,y in source pixels, or a list of them, on the person.
            scribble: A line of points [N, 2] over the person.
            box: left, top, right, bottom around the person.

        Raises:
            SourceError: The picture cannot be read.
            PromptError: There is no prompt, more than one, or one that cannot be used.
        """
        prompt = self._prompt(text, {"points": points, "scribble": scribble, "box": box})
        frame = image if isinstance(image, np.ndarray) else read_image(image)
        return self._predictor.predict(frame, prompt)

    def predict_many(self, image: str | Path | np.ndarray, texts: Sequence[str]) -> list[Person]:
        """Find several people in one picture, one text prompt each, in the same order.

        A bundle exported with `--split` computes the picture's features once for all of them.

        Args:
            image: As for `predict`.
            texts: Words that describe one person each; at least one.

        Raises:
            SourceError: The picture cannot be read.
            PromptError: There is no prompt, or one is empty.
        """
        frame = image if isinstance(image, np.ndarray) else read_image(image)
        return self._predictor.predict_many(frame, texts)

    def stream(self, source: str | int | Path, text: str, **options: Any) -> Iterator[tuple[np.ndarray, Person]]:
        """Find the person in every frame of a source, one frame at a time.

        Args:
            source: A video, picture, folder, address, or number of a camera.
            text: Words that describe one person.
            **options: Passed on to `humar_edge.runtime.sources.open_source`.

        Yields:
            The frame, uint8 BGR [H, W, 3], and the person in it.

        Raises:
            SourceError: The source cannot be read.
            PromptError: The prompt is empty.
        """
        from humar_edge.runtime.sources import open_source

        prompt = self._predictor.encode(text)
        with open_source(source, **options) as frames:
            for frame in frames:
                yield frame.image, self._predictor.predict(frame.image, prompt)

    def close(self) -> None:
        """Free the engines."""
        self._predictor.close()

    def __enter__(self) -> HumarEdge:
        """The object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the engines."""
        self.close()

    def _prompt(self, text: str | None, positional: dict[str, object]) -> Prompt:
        given = [name for name, value in {"text": text, **positional}.items() if value is not None]
        if len(given) != 1:
            found = f"got {' and '.join(given)}" if given else "got none"
            raise PromptError(f"give exactly one prompt of text, points, scribble or box; {found}")
        if text is not None:
            return self._predictor.encode(text)
        return _POSITIONAL[given[0]](positional[given[0]])
