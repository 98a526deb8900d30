"""The vision engine in two parts, for several prompts on one picture: features and people once, then every prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from humar_edge.bundle import FEATURES_ENGINE, PROMPT_ENGINE
from humar_edge.errors import ExportError
from humar_edge.export.engines import DETECTION, Engine, vision_engine
from humar_edge.export.parity import TOLERANCES, Arrays, Difference, Run, compare, onnx_run, require
from humar_edge.export.source import Source
from humar_edge.models.heads.people import People
from humar_edge.models.prompting import Prompt
from humar_edge.models.transformers.light import Pyramid

if TYPE_CHECKING:
    import onnx

LEVELS = len(Pyramid._fields)
PICTURE = (*Pyramid._fields, *People._fields)
"""What the features engine gives and the prompt engine takes, under these names."""
SPLIT = ("features", "prompt")


class Part(nn.Module):
    """A part of a network that is called like the whole, so that its nodes are named as in the whole."""

    def __init__(self, network: Any, part: Callable[..., tuple[Any, ...]]) -> None:
        super().__init__()
        self.whole = network
        self.part = part

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Whatever the part does."""
        return tuple(self.part(*inputs))


class FeaturesGraph(nn.Module):
    """`image` uint8 [1,H,W,3] -> what prompts need of a picture, a batch of one.

    `p2` to `p5` are float32 [1,C,H/s,W/s] at strides 4, 8, 16 and 32. Of the candidates there are `cells` int64 [1,K]
    and, float32, `boxes` [1,K,4], `person` [1,K,D], `keys` and `values` [1,K,G,D] and `relations` [1,R,K,K]: `People`.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = Part(network, network.scene)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        # TensorRT reads 8-bit inputs in a Cast only, so it comes first.
        pyramid, _, people = self.network(image.float())
        return (*pyramid, *people)


class PromptGraph(nn.Module):
    """What the features engine gives, `text_tokens`, `text_mask`, `sentence` -> the four outputs of a detection."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = Part(network, network.transformer)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        pyramid, people = Pyramid(*inputs[:LEVELS]), People(*inputs[LEVELS : len(PICTURE)])
        found: tuple[Tensor, ...] = self.network(pyramid, people, Prompt(*inputs[len(PICTURE) :]))
        return found


def split_engines(source: Source) -> list[Engine]:
    """The features engine and the prompt engine of a light network, with the samples of the vision engine.

    Raises:
        ExportError: The network reads the prompt from its first layers on, there is nothing to share.
    """
    if source.original:
        raise ExportError("--split: the original transformer mixes words into its encoder; split a light combination")
    features, prompt = FeaturesGraph(source.network).eval(), PromptGraph(source.network).eval()
    images, prompts = [], []
    for sample in vision_engine(source).samples:
        image = {"image": sample["image"]}
        with torch.no_grad():
            picture = dict(zip(PICTURE, features(**image), strict=True))
        images.append(image)
        prompts.append({**picture, **{name: value for name, value in sample.items() if name != "image"}})
    return [
        Engine("features", FEATURES_ENGINE, features, images, PICTURE),
        Engine("prompt", PROMPT_ENGINE, prompt, prompts, DETECTION),
    ]


def split_feeds(name: str, source: Source, samples: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Arrays]:
    """Inputs of one of the two engines, from inputs of the vision engine."""
    features = FeaturesGraph(source.network).eval()
    for sample in samples:
        if name == "features":
            yield {"image": sample["image"]}
            continue
        with torch.no_grad():
            tensors = features(torch.from_numpy(sample["image"]))
        picture = {port: tensor.numpy() for port, tensor in zip(PICTURE, tensors, strict=True)}
        yield {**picture, **{key: value for key, value in sample.items() if key != "image"}}


def joined(features: Run, prompt: Run) -> Run:
    """Both parts as one vision engine."""

    def run(sample: Mapping[str, np.ndarray]) -> Arrays:
        words = {name: value for name, value in sample.items() if name != "image"}
        return prompt({**features({"image": sample["image"]}), **words})

    return run


def check_split(
    whole: onnx.ModelProto,
    features: onnx.ModelProto,
    prompt: onnx.ModelProto,
    samples: Sequence[Arrays],
    *,
    exact: bool = True,
) -> list[Difference]:
    """Compare both parts, one after the other, with the whole vision engine.

    Args:
        whole: The vision engine.
        features: The features engine.
        prompt: The prompt engine.
        samples: Inputs of the vision engine.
        exact: Hold them to the tolerances of FP32; reduced precision rounds at other places when it is cut.

    Raises:
        ExportError: They do not agree.
    """
    parts = joined(onnx_run(features), onnx_run(prompt))
    differences = compare(onnx_run(whole), parts, samples, TOLERANCES if exact else {})
    require(differences, "the features and prompt engines do not agree with the vision engine")
    return differences
