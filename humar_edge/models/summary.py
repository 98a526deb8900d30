"""Parameters, multiply-accumulates and memory of a combination, counted on the real network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from humar_edge.combos import TEXT_ENCODERS, Combo
from humar_edge.errors import ConfigError
from humar_edge.models.activations import PeakMemory
from humar_edge.models.backbones import build_backbone
from humar_edge.models.tokenizer import TOKENS

BYTES = {"FP32": 4.0, "FP16": 2.0}
_INT8_TYPES = (nn.Conv1d, nn.Conv2d, nn.Linear)
INT8_PARTS = ("neck", "fusion", "instance")
"""Parts of a light transformer that the standard INT8 plan covers beside the backbone; of `original` it covers none."""


@dataclass(frozen=True)
class Parameters:
    """Exact parameter counts of a combination; the transformer includes the heads and prompt projections."""

    transformer: int
    text: int
    backbone: int

    @property
    def total(self) -> int:
        """All three together."""
        return self.transformer + self.text + self.backbone


@dataclass(frozen=True)
class Cost:
    """One run of the vision network on one picture.

    Attributes:
        backbone_macs: Multiply-accumulates of convolutions and matrix products in the backbone.
        vision_macs: The same of the whole vision network (backbone included, text encoder excluded).
        peak_bytes: Most bytes that intermediate results take at once, FP32, run layer by layer.
    """

    backbone_macs: int
    vision_macs: int
    peak_bytes: int


def count(module: nn.Module) -> int:
    """Parameters of a module, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class Layer:
    """One part of a network.

    Attributes:
        name: Where it is, from the network's top.
        kind: Its class.
        parameters: Its exact parameter count.
        outputs: Shapes of the tensors it returned; empty when it did not run.
    """

    name: str
    kind: str
    parameters: int
    outputs: tuple[tuple[int, ...], ...]


@cache
def backbone_of(name: str) -> nn.Module:
    """An untrained backbone in evaluation mode; built once per process."""
    return build_backbone(name).eval()


@cache
def text_size(name: str) -> tuple[int, int]:
    """Parameters and width of a text encoder, without allocating its weights.

    Raises:
        CheckpointError: The configuration of an `hf:` encoder cannot be had.
    """
    from humar_edge.models.text.loading import body_from_config, load_config
    from humar_edge.models.text.table import RECIPES
    from humar_edge.models.text.tite import tite_encoder

    if name == "tite":
        return count(tite_encoder(None, untrained=True)), TEXT_ENCODERS[name].dim
    config = RECIPES[name].config if name in RECIPES else load_config(name.removeprefix("hf:"), f"encoder '{name}'")
    with torch.device("meta"):
        body = body_from_config(config)
    return count(body), int(body.config.hidden_size)


class _Width(nn.Module):
    """Stands for a text encoder where only its width matters."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim


def _original(backbone: nn.Module, dim: int, overrides: dict[str, int]) -> tuple[nn.Module, Callable[..., Any]]:
    from humar_edge.models.original.uniphd import UniPHD

    network = UniPHD(backbone, _Width(dim), **overrides).eval()

    def vision(image: Tensor, tokens: Tensor, mask: Tensor, sentence: Tensor) -> Any:
        return network.vision(image.permute(0, 3, 1, 2).float(), tokens, mask, sentence)

    return network.transformer, vision


def _light(name: str) -> Callable[..., tuple[nn.Module, Callable[..., Any]]]:
    def build(backbone: nn.Module, dim: int, overrides: dict[str, int]) -> tuple[nn.Module, Callable[..., Any]]:
        from humar_edge.models.network import HumarNet
        from humar_edge.models.transformers import build_transformer

        channels: Any = backbone.channels
        transformer: Any = build_transformer(name, tuple(channels), dim, **overrides).eval()
        return transformer, HumarNet(backbone, None, transformer).eval()

    return build


FAMILIES: dict[str, Callable[..., tuple[nn.Module, Callable[..., Any]]]] = {
    "original": _original,
    "efficient": _light("efficient"),
    "fully_conv": _light("fully_conv"),
    "fully_conv_optim": _light("fully_conv_optim"),
}
"""Transformer name -> (backbone, text width, overrides) -> (transformer, vision network of uint8 pictures)."""


@dataclass(frozen=True)
class Network:
    """A combination's untrained vision network, the size of its text encoder, and the transformer's parts in INT8."""

    backbone: nn.Module
    transformer: nn.Module
    vision: Callable[..., Any]
    text_parameters: int
    int8_parts: tuple[nn.Module, ...] = ()

    @property
    def width(self) -> int:
        """D: width of the prompt that the vision network takes."""
        return int(self.transformer.width)  # type: ignore[arg-type]

    @property
    def parameters(self) -> Parameters:
        """Exact counts per component."""
        return Parameters(count(self.transformer), self.text_parameters, count(self.backbone))


def build(combo: Combo) -> Network:
    """Build a combination with random weights, without its text encoder.

    Args:
        combo: From `humar_edge.combos.resolve`.
    """
    text_parameters, dim = text_size(combo.text_encoder_type)
    backbone = backbone_of(combo.backbone)
    transformer, vision = FAMILIES[combo.transformer_type](backbone, dim, combo.overrides)
    light = combo.transformer_type != "original"
    parts = tuple(transformer.get_submodule(name) for name in INT8_PARTS) if light else ()
    return Network(backbone, transformer, vision, text_parameters, parts)


def check_input_size(size: tuple[int, int]) -> None:
    """Refuse sizes that no backbone takes.

    Raises:
        ConfigError: Height or width is not a positive multiple of 32.
    """
    if min(size) <= 0 or size[0] % 32 or size[1] % 32:
        raise ConfigError(f"input size {size[0]}x{size[1]}: height and width must be positive multiples of 32")


def _example(network: Network, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """An empty picture and prompt, as the vision engine takes them."""
    check_input_size(size)
    return (
        torch.zeros(1, *size, 3, dtype=torch.uint8),
        torch.zeros(1, TOKENS, network.width),
        torch.ones(1, TOKENS, dtype=torch.int64),
        torch.zeros(1, network.width),
    )


def layers(network: Network, size: tuple[int, int]) -> list[Layer]:
    """The parts of backbone and transformer, two levels deep, with the shapes they return at an input size."""
    parts: dict[str, nn.Module] = {}
    for top, module in (("backbone", network.backbone), ("transformer", network.transformer)):
        for name, child in module.named_children():
            parts[f"{top}.{name}"] = child
            parts |= {f"{top}.{name}.{inner}": part for inner, part in child.named_children() if count(part)}
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, outputs: Any) -> None:
            tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
            shapes.setdefault(name, tuple(tuple(map(int, tensor.shape)) for tensor in tensors))

        return record

    hooks = [part.register_forward_hook(recorder(name)) for name, part in parts.items()]
    try:
        with torch.no_grad():
            network.vision(*_example(network, size))
    finally:
        for hook in hooks:
            hook.remove()
    return [Layer(name, type(part).__name__, count(part), shapes.get(name, ())) for name, part in parts.items()]


def measure(network: Network, size: tuple[int, int]) -> Cost:
    """Run the vision network once on an empty picture and count.

    Args:
        network: From `build`.
        size: Height and width of the picture, multiples of 32.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    image, *prompt = _example(network, size)
    # The plain formula of attention: fused kernels hide their matrix products from the counter.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as alone:
            network.backbone(torch.zeros(1, 3, *size))
        with FlopCounterMode(display=False) as whole, PeakMemory() as memory:
            network.vision(image, *prompt)
    return Cost(alone.get_total_flops() // 2, whole.get_total_flops() // 2, memory.peak)


def weight_bytes(module: nn.Module) -> dict[str, int]:
    """Bytes of a module's parameters at FP32, FP16 and INT8.

    INT8 means one byte for the weights of convolutions and linear layers plus an FP32 scale per output channel, and
    FP16 for everything else, as in the Q/DQ graphs of the calibration step.
    """
    total = count(module)
    layers = [layer for layer in module.modules() if isinstance(layer, _INT8_TYPES)]
    small = sum(layer.weight.numel() for layer in layers)
    scales = sum(layer.weight.shape[0] for layer in layers)
    sizes = {name: int(total * size) for name, size in BYTES.items()}
    return {**sizes, "INT8": small + 4 * scales + 2 * (total - small)}


def memory_estimate(network: Network, cost: Cost) -> dict[str, dict[str, int]]:
    """Estimated bytes of the vision engine: weights, activations and their sum at each precision.

    Activations are the peak of a run layer by layer; engines that fuse layers need less, their workspace comes on top.
    INT8 is that of the plan `int8-fp16`: backbone, neck, fusion and instance window of a light network have 8-bit
    weights, of `original` the backbone alone; all else is FP16, activations too, because attention, normalisations and
    heads stay in floating point.
    """
    backbone, transformer = weight_bytes(network.backbone), weight_bytes(network.transformer)
    transformer["INT8"] = transformer["FP16"] - sum(
        saved["FP16"] - saved["INT8"] for saved in map(weight_bytes, network.int8_parts)
    )
    weights = {name: backbone[name] + transformer[name] for name in backbone}
    activations = {"FP32": cost.peak_bytes, "FP16": cost.peak_bytes // 2, "INT8": cost.peak_bytes // 2}
    return {
        name: {"weights": weights[name], "activations": activations[name], "total": weights[name] + activations[name]}
        for name in weights
    }
