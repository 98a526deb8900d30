"""A network in PyTorch, run operator by operator: what engines are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from humar_edge.combos import resolve
from humar_edge.errors import ConfigError, MissingExtraError
from humar_edge.prompts import Prompt, TextPrompt
from humar_edge.results import Person
from humar_edge.runtime.bench.process import cpu_name
from humar_edge.runtime.bench.subjects import Label, Subject, backend_version
from humar_edge.runtime.decode import decode_box, decode_keypoints, decode_mask
from humar_edge.runtime.preprocess import Prepared, prepare

OUTPUTS = ("score", "box", "keypoints", "mask")


class EagerStages:
    """A `HumarNet` with the stages of the runtime.

    Args:
        network: The network with its text encoder.
        input_size: Height and width of the canvas.
        token_length: Tokens of a prompt, padding included.
    """

    def __init__(self, network: Any, input_size: tuple[int, int], token_length: int) -> None:
        from humar_edge.evaluation.predictors import TorchPredictor

        self._network = network
        self._input_size = input_size
        self._prompts = TorchPredictor(network, input_size, token_length)

    def encode(self, text: str) -> TextPrompt:
        """Encode a prompt; the same one is encoded once."""
        return self._prompts.encode(text)

    def preprocess(self, frame: np.ndarray) -> Prepared:
        """Frame to canvas."""
        return prepare(frame, self._input_size)

    def infer(self, prepared: Prepared, prompt: Prompt) -> dict[str, np.ndarray]:
        """Run the vision network.

        Raises:
            ConfigError: The prompt is not text.
        """
        import torch

        if not isinstance(prompt, TextPrompt):
            raise ConfigError("the torch backend of bench takes text prompts only")
        arrays = (prepared.image, prompt.text_tokens, prompt.text_mask, prompt.sentence)
        with torch.inference_mode():
            found = self._network(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return {name: value.numpy() for name, value in zip(OUTPUTS, found, strict=False)}

    def postprocess(self, raw: Mapping[str, np.ndarray], prepared: Prepared, prompt: Prompt) -> Person:
        """Raw outputs to a person; the threshold plays no part here."""
        letterbox, logits = prepared.letterbox, raw["mask"]
        box = decode_box(raw["box"], letterbox)
        return Person(
            text=prompt.text,
            found=True,
            score=float(raw["score"].reshape(-1)[0]),
            box_xyxy=box,
            keypoints=decode_keypoints(raw["keypoints"], letterbox),
            frame_size=letterbox.source_size,
            mask_source=lambda: decode_mask(logits, box, letterbox),
        )

    def close(self) -> None:
        """Forget the encoded prompts."""
        self._prompts.close()


def open_eager(
    combo: str, checkpoint: Path | None, input_size: tuple[int, int] | None = None, threads: int | None = None
) -> Subject:
    """Build a light combination in PyTorch on the CPU, from a checkpoint or with random weights.

    Raises:
        ConfigError: The combination is the original transformer, which is not offered here.
        MissingExtraError: PyTorch or what the networks need is not installed.
    """
    parts = resolve(combo)
    if parts.transformer_type == "original":
        raise ConfigError(f"--backend torch measures the light combinations, {combo} is the original transformer")
    try:
        import torch

        from humar_edge.export.source import open_source
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "export") from error
    if threads:
        torch.set_num_threads(threads)
    source = open_source(combo, parts, checkpoint, untrained=checkpoint is None, input_size=input_size)
    stages = EagerStages(source.network, source.input_size, source.token_length)
    label = Label(
        combo, combo, "torch", backend_version("torch"), "fp32", source.input_size, cpu_name(), source.trained
    )
    return Subject(label, stages)
