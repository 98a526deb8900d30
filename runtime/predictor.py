"""A bundle opened on a backend: prompts and frames in, people out."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import click
import numpy as np

from humar_edge.bundle import Bundle
from humar_edge.errors import BackendError, BundleError, ConfigError, PromptError
from humar_edge.prompts import PositionalPrompt, Prompt, TextPrompt, Tokenizer, clean_text
from humar_edge.results import Person
from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import Letterbox, Prepared, prepare
from humar_edge.runtime.runners import Runner, TensorSpec, choose_backend, open_runner

CACHED_PROMPTS = 128

STAGES = ("preprocess", "inference", "postprocess")
"""Keys of `Person.timings`."""


class Predictor:
    """Runs a bundle's engines. Every stage is a method of its own, so that a pipeline can overlap them.

    Attributes:
        bundle: The bundle.
        backend: Name of the backend in use.
        device: Device in use, for people to read.
        threshold: From which score on a person counts as found.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str | None = None,
        threads: int | None = None,
        score_threshold: float | None = None,
        opener: Callable[[Path, str, int | None], Runner] = open_runner,
    ) -> None:
        """Open the text and vision engines; warn on stderr when the bundle is untrained.

        Args:
            bundle: The bundle.
            backend: Key of `humar_edge.runtime.runners.BACKENDS`, None for the best available.
            threads: CPU threads, None leaves it to the backend.
            score_threshold: Replaces the manifest's threshold, in [0, 1].
            opener: Opens an engine on a backend with a number of threads.

        Raises:
            BackendError: The backend is missing or cannot run the engines.
            ConfigError: The threshold is out of range.
        """
        manifest = bundle.manifest
        threshold = manifest.thresholds["score"] if score_threshold is None else score_threshold
        if not 0 <= threshold <= 1:
            raise ConfigError(f"the score threshold must be between 0 and 1, got {threshold}")
        if bundle.warning:
            click.echo(f"warning: {bundle.warning}", err=True)
        self.bundle = bundle
        self.threshold = float(threshold)
        self._threads = threads
        self._opener = opener
        self._tokenizer = Tokenizer(bundle.tokenizer, manifest.token_length)
        self._prompts: OrderedDict[str, TextPrompt] = OrderedDict()
        self._lock = threading.Lock()
        self.backend = choose_backend(backend)
        self._vision = opener(bundle.vision_engine, self.backend, threads)
        self._text = opener(bundle.text_engine, self.backend, threads)
        self._positional: Runner | None = None
        self._split: tuple[Runner, Runner] | None = None
        self.device = self._vision.device
        image = self._vision.input_specs.get("image")
        wanted = TensorSpec((1, *manifest.input_size, 3), np.dtype(np.uint8))
        if image != wanted:
            self.close()
            raise BundleError(f"{bundle.vision_engine}: its input 'image' is {image}, the manifest asks for {wanted}")

    def encode(self, text: str) -> TextPrompt:
        """Clean and encode a text prompt; the text engine runs once per different prompt.

        Raises:
            PromptError: The prompt is empty.
        """
        text = clean_text(text)
        with self._lock:
            if text in self._prompts:
                self._prompts.move_to_end(text)
                return self._prompts[text]
            encoding = self._tokenizer.encode(text)
            outputs = self._text.infer({"input_ids": encoding.input_ids, "attention_mask": encoding.attention_mask})
            prompt = TextPrompt(
                text, outputs["text_tokens"], encoding.attention_mask, outputs["sentence"], encoding.truncated
            )
            self._prompts[text] = prompt
            while len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        if prompt.truncated:
            length = self.bundle.manifest.token_length
            click.echo(f"warning: the prompt is longer than {length} tokens; its end is ignored", err=True)
        return prompt

    def preprocess(self, frame: np.ndarray) -> Prepared:
        """Letterbox a frame (uint8 BGR [H, W, 3], or anything `as_bgr` takes).

        Raises:
            SourceError: The frame is not a picture.
        """
        return prepare(frame, self.bundle.manifest.input_size)

    def infer(self, prepared: Prepared, prompt: Prompt) -> dict[str, np.ndarray]:
        """Run the vision engine; the outputs are those of the contract in `humar_edge.runtime.decode`.

        Raises:
            BackendError: The engine did not take the inputs.
            BundleError: A positional prompt, and the bundle has no positional engine.
            PromptError: A positional prompt that lies outside the frame.
        """
        if isinstance(prompt, PositionalPrompt):
            points = _canvas_points(prompt, prepared.letterbox)
            return self._positional_runner().infer({"image": prepared.image, "points": points})
        return self._vision.infer({"image": prepared.image, **_text_inputs(prompt)})

    def infer_many(self, prepared: Prepared, prompts: Sequence[Prompt]) -> Iterator[dict[str, np.ndarray]]:
        """Run the engines for one prompt after the other; errors and outputs are those of `infer`.

        Where the bundle has split engines, several text prompts share the picture's features; they are computed with
        the first of them. Without split engines, and for positional prompts, every prompt runs a whole engine.
        """
        shared = sum(isinstance(prompt, TextPrompt) for prompt in prompts) > 1
        split = self._split_runners() if shared else None
        features: dict[str, np.ndarray] | None = None
        for prompt in prompts:
            if split is None or isinstance(prompt, PositionalPrompt):
                yield self.infer(prepared, prompt)
                continue
            if features is None:
                features = split[0].infer({"image": prepared.image})
            yield split[1].infer({**features, **_text_inputs(prompt)})

    def postprocess(
        self,
        raw: Mapping[str, np.ndarray],
        prepared: Prepared,
        prompt: Prompt,
        timings: Mapping[str, float] | None = None,
    ) -> Person:
        """Decode the engine's outputs into source pixels; the mask is decoded when it is first asked for.

        Raises:
            BackendError: The score is not a number, which means that the engine overflowed.
        """
        score = float(raw["score"].reshape(-1)[0])
        if not np.isfinite(score):
            raise BackendError(
                f"the vision engine on {self.backend} returned score {score}; export it with a higher precision"
            )
        letterbox, logits = prepared.letterbox, raw["mask"]
        box = decode_box(raw["box"], letterbox)
        return Person(
            text=prompt.text,
            found=score >= self.threshold,
            score=score,
            box_xyxy=box,
            keypoints=decode_keypoints(raw["keypoints"], letterbox),
            frame_size=letterbox.source_size,
            timings=dict(timings or {}),
            mask_source=lambda: decode_mask(logits, box, letterbox),
        )

    def predict(self, frame: np.ndarray, prompt: Prompt | str) -> Person:
        """All stages on one frame, with their times in milliseconds in `Person.timings`."""
        return self.predict_many(frame, [prompt])[0]

    def predict_many(self, frame: np.ndarray, prompts: Sequence[Prompt | str]) -> list[Person]:
        """All stages on one frame for several prompts: one person each, in order.

        `Person.timings` are milliseconds. The preprocessing is shared; the inference of the first text prompt holds
        the features that the others share, see `infer_many`.

        Raises:
            PromptError: There is no prompt.
        """
        if not prompts:
            raise PromptError("no prompt; say whom to look for")
        encoded = [self.encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        started = time.perf_counter()
        prepared = self.preprocess(frame)
        return list(self.find(prepared, encoded, (time.perf_counter() - started) * 1e3))

    def find(self, prepared: Prepared, prompts: Sequence[Prompt], preprocess_ms: float) -> Iterator[Person]:
        """Inference and decoding of one picture for every prompt, in order; errors are those of `infer`."""
        before = time.perf_counter()
        for prompt, raw in zip(prompts, self.infer_many(prepared, prompts), strict=True):
            inferred = time.perf_counter()
            person = self.postprocess(raw, prepared, prompt)
            after = time.perf_counter()
            times = (preprocess_ms, (inferred - before) * 1e3, (after - inferred) * 1e3)
            yield replace(person, timings=dict(zip(STAGES, times, strict=True)))
            before = after

    def close(self) -> None:
        """Free the engines."""
        for runner in (self._vision, self._text, self._positional, *(self._split or ())):
            if runner is not None:
                runner.close()

    def __enter__(self) -> Predictor:
        """The predictor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the engines."""
        self.close()

    def _positional_runner(self) -> Runner:
        # Opened on first use: most sessions only use text.
        with self._lock:
            if self._positional is None:
                path = self.bundle.positional_engine
                if path is None:
                    raise BundleError(
                        f"bundle '{self.bundle.manifest.name}' takes text prompts only; export it with "
                        "--prompts text,point"
                    )
                self._positional = self._opener(path, self.backend, self._threads)
            return self._positional

    def _split_runners(self) -> tuple[Runner, Runner] | None:
        # Opened on first use: with one prompt the whole engine is the faster way.
        with self._lock:
            paths = self.bundle.split_engines
            if self._split is None and paths is not None:
                features, prompt = (self._opener(path, self.backend, self._threads) for path in paths)
                self._split = features, prompt
            return self._split


def _text_inputs(prompt: TextPrompt) -> dict[str, np.ndarray]:
    return {"text_tokens": prompt.text_tokens, "text_mask": prompt.text_mask, "sentence": prompt.sentence}


def _canvas_points(prompt: PositionalPrompt, letterbox: Letterbox) -> np.ndarray:
    """The prompt's points as float32 [1, 12, 2] in [0, 1] of the canvas; points outside the frame move to its edge."""
    height, width = letterbox.source_size
    inside = np.all((prompt.points >= 0) & (prompt.points <= [width, height]), axis=1)
    if not inside.any():
        raise PromptError(f"{prompt.text} lies outside the frame of {width} x {height} pixels")
    points = np.clip(prompt.points, 0, [width, height])
    return letterbox.to_canvas(points)[None].astype(np.float32)
