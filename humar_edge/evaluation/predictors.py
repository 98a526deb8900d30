"""Bundles and PyTorch networks behind one interface: a frame and a prompt in, a `Person` out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from humar_edge.data.entries import Entry
from humar_edge.errors import CheckpointError, ConfigError, MissingExtraError
from humar_edge.evaluation.evaluator import Prediction
from humar_edge.prompts import PositionalPrompt, Prompt, TextPrompt, clean_text, point_prompt
from humar_edge.results import Person
from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import prepare

POINT_INDEX = 5
"""The point of the first stroke that stands for a point prompt, as in UniPHD's evaluation."""

PROMPTS = ("text", "point", "scribble")


class FramePredictor(Protocol):
    """What evaluation needs of a model; `humar_edge.runtime.predictor.Predictor` is one."""

    backend: str
    device: str
    threshold: float

    def encode(self, text: str) -> TextPrompt:
        """Encode a text prompt."""

    def predict(self, frame: np.ndarray, prompt: Prompt | str) -> Person:
        """Find the person in a uint8 BGR frame [H, W, 3]."""

    def close(self) -> None:
        """Free the engines."""


class TorchPredictor:
    """A network in PyTorch, with the runtime's own preprocessing and decoding.

    Args:
        network: HumarNet, or any module with `encode_text`, `forward` and `forward_points` like it.
        input_size: height and width of the canvas.
        token_length: tokens per prompt, padding included.
        threshold: score from which the person counts as found.
    """

    backend = "torch"

    def __init__(
        self,
        network: Any,
        input_size: tuple[int, int],
        token_length: int = 32,
        threshold: float = 0.5,
    ) -> None:
        self.network = network.eval()
        self.input_size = input_size
        self.threshold = threshold
        self.parameter = next(network.parameters())
        self.device = str(self.parameter.device)
        self._tokenizer = _padded(self.network.text_encoder.tokenizer, token_length)
        self._prompts: dict[str, TextPrompt] = {}

    def encode(self, text: str) -> TextPrompt:
        """Encode a text prompt; each different one is encoded once."""
        text = clean_text(text)
        if text not in self._prompts:
            encoding = self._tokenizer.encode(text)
            mask = np.asarray([encoding.attention_mask], dtype=np.int64)
            tokens = self._run(self.network.encode_text, np.asarray([encoding.ids], dtype=np.int64), mask)
            self._prompts[text] = TextPrompt(text, tokens[0], mask, tokens[2], bool(encoding.overflowing))
        return self._prompts[text]

    def predict(self, frame: np.ndarray, prompt: Prompt | str) -> Person:
        """Find the person; `Person.timings` holds the milliseconds of the inference stage."""
        prompt = self.encode(prompt) if isinstance(prompt, str) else prompt
        prepared = prepare(frame, self.input_size)
        letterbox = prepared.letterbox
        start = time.perf_counter()
        if isinstance(prompt, PositionalPrompt):
            points = letterbox.to_canvas(prompt.points)[None].astype(np.float32)
            outputs = self._run(self.network.forward_points, prepared.image, points)
        else:
            features = (prompt.text_tokens, prompt.text_mask, prompt.sentence)
            outputs = self._run(self.network, prepared.image, *features)
        elapsed = (time.perf_counter() - start) * 1e3
        score, box, keypoints, mask = outputs[:4]
        box_xyxy = decode_box(box, letterbox)
        probability = float(score.reshape(-1)[0])
        return Person(
            text=prompt.text,
            found=probability >= self.threshold,
            score=probability,
            box_xyxy=box_xyxy,
            keypoints=decode_keypoints(keypoints, letterbox),
            frame_size=letterbox.source_size,
            timings={"inference": elapsed},
            mask_source=lambda: decode_mask(mask, box_xyxy, letterbox),
        )

    def close(self) -> None:
        """Forget the encoded prompts; the network belongs to the caller."""
        self._prompts.clear()

    def _run(self, function: Any, *arrays: np.ndarray) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            outputs = function(*(torch.from_numpy(np.ascontiguousarray(a)).to(self.parameter.device) for a in arrays))
            return [value.float().cpu().numpy() for value in outputs if value is not None]


def open_predictor(model: Path, backend: str | None = None, threads: int | None = None) -> FramePredictor:
    """Open a bundle (a folder with manifest.json) on a backend, or a checkpoint in PyTorch.

    Raises:
        ConfigError: the backend does not go with the kind of model, or there is no such model.
        BundleError: the bundle is damaged.
        CheckpointError: the checkpoint cannot be read.
        MissingExtraError: a checkpoint, and PyTorch is not installed.
    """
    if not model.exists():
        raise ConfigError(f"{model}: no such bundle or checkpoint")
    if (model / "manifest.json").is_file():
        if backend == "torch":
            raise ConfigError(f"{model} is a bundle: --backend torch needs the checkpoint it was exported from")
        from humar_edge.bundle import Bundle
        from humar_edge.runtime.predictor import Predictor

        return Predictor(Bundle.load(model), backend, threads)
    if backend not in (None, "torch"):
        raise ConfigError(f"{model} is not a bundle: export the checkpoint first (humar-edge export) to use {backend}")
    try:
        import torch

        from humar_edge.training.build import load_network
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    if threads:
        torch.set_num_threads(threads)
    network, meta = load_network(model)
    return TorchPredictor(network, *_settings(meta))


def predict_entry(predictor: FramePredictor, entry: Entry, frame: np.ndarray, prompt: str) -> Prediction:
    """Prompt a model with what an entry offers.

    Args:
        predictor: the model.
        entry: the entry; positional prompts need its scribble.
        frame: its picture, uint8 BGR [H, W, 3].
        prompt: `text` (the caption), `scribble` (the first stroke) or `point` (one point of it).
    """
    person = predictor.predict(frame, _prompt(predictor, entry, prompt))
    # Not Person.mask: that is empty below the threshold, while overlap is measured whatever the score.
    mask = person.mask_source() if person.mask_source is not None else None
    return Prediction(person.score, person.box_xyxy, person.keypoints, mask, person.timings.get("inference"))


def _prompt(predictor: FramePredictor, entry: Entry, prompt: str) -> Prompt:
    if prompt == "text":
        return predictor.encode(entry.caption)
    if entry.scribble is None:
        raise ConfigError(f"entry {entry.id} has no scribble, so it cannot be prompted with a {prompt}")
    stroke = entry.scribble[0].astype(np.float32)
    # The stroke as it stands: UniPHD's figures are those of RefHuman's own twelve points, unresampled.
    return PositionalPrompt("scribble", stroke) if prompt == "scribble" else point_prompt(stroke[POINT_INDEX])


def _settings(meta: Mapping[str, Any]) -> tuple[tuple[int, int], int, float]:
    try:
        height, width = meta["input_size"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError("the checkpoint does not say its input_size [height, width]") from error
    threshold = meta.get("thresholds", {}).get("score", 0.5)
    return (int(height), int(width)), int(meta.get("token_length", 32)), float(threshold)


def _padded(tokenizer: Any, length: int) -> Any:
    """A copy of a `tokenizers.Tokenizer` that truncates and pads to a length."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    padding = copy.padding or {}
    token = padding.get("pad_token") or next(
        (t for t in ("[PAD]", "<pad>") if copy.token_to_id(t) is not None), "[PAD]"
    )
    copy.enable_truncation(length)
    copy.enable_padding(length=length, pad_id=copy.token_to_id(token) or 0, pad_token=token)
    return copy
