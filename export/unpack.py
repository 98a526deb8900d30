"""From a bundle back to a checkpoint: to fine-tune it, to distil from it, to measure it in another precision.

Names of weights are lost in an exported graph, folded norms and constants too. So a twin with random weights is
exported by the same code, each of its constants is found in the bundle's graph by its place, and each of its weights
among its constants by its values, which no other weight shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from humar_edge.bundle import Bundle
from humar_edge.combos import resolve
from humar_edge.errors import ExportError
from humar_edge.export.engines import (
    CAPTIONS,
    Engine,
    caption_samples,
    positional_engine,
    text_engine,
    vision_engine,
)
from humar_edge.export.graph import attribute, initialisers
from humar_edge.export.maps import separate
from humar_edge.export.parity import Run, arrays, onnx_run, torch_run
from humar_edge.export.reduce import TEXT_TOLERANCES
from humar_edge.export.source import ORIGINAL, Source
from humar_edge.export.to_onnx import onnx_modules, to_onnx
from humar_edge.models.network import HumarNet
from humar_edge.models.text import build_text_encoder
from humar_edge.training import checkpoint
from humar_edge.training.build import build_network, describe

if TYPE_CHECKING:
    import onnx

ENCODER = "text_encoder."
SPREAD = 0.1
"""Deviation of the twin's weights."""
SAME = 1e-5
"""Largest difference of a weight and its constant: folding a norm that does nothing rounds once."""
Pairs = dict[int, list[tuple[np.ndarray, np.ndarray]]]
"""Number of values -> constants of the twin, and of the bundle at the same place."""


def unpack(path: Path, output: Path) -> None:
    """Write a checkpoint with the weights of a bundle's engines.

    Weights that were rounded to INT8 stay so. The text encoder is taken as published, and its features are compared
    with the bundle's.

    Args:
        path: Bundle of a light network with a frozen text encoder and a positional engine.
        output: Checkpoint folder to write, like `last` of a run; without an optimizer.

    Raises:
        BundleError: It cannot be read.
        ExportError: It holds no such network, or not all of its weights.
    """
    bundle = Bundle.load(path)
    manifest = bundle.manifest
    combo = resolve(manifest.combo, **manifest.components)
    if combo.transformer_type == ORIGINAL or bundle.positional_engine is None:
        raise ExportError(f"{path}: only bundles of light networks with a positional engine can be unpacked")
    if not manifest.trained:
        raise ExportError(f"{path} holds random weights; there is nothing to unpack")
    onnx, _ = onnx_modules()
    encoder = build_text_encoder(combo.text_encoder_type)
    network = build_network(combo, encoder, encoder.dim).eval().requires_grad_(False)
    scramble(network)
    height, width = manifest.input_size
    source = Source(network, manifest.combo, combo, (height, width), trained=True)
    pairs: Pairs = defaultdict(list)
    vision, positional, text = vision_engine(source), positional_engine(source), text_engine(source)
    for engine in (vision, positional, text):
        for mine, theirs in aligned(to_onnx(engine), onnx.load(str(bundle.path / engine.file))):
            pairs[mine.size].append((mine, theirs))
    found = weights(network, pairs) | folded(network, vision, pairs)
    state = network.state_dict()
    missing = [name for name in state if name not in found and _is_weight(network, name)]
    if missing:
        raise ExportError(f"{path}: {len(missing)} weights are not in its engines, such as {missing[0]}")
    network.load_state_dict(state | {name: torch.from_numpy(value) for name, value in found.items()})
    _require_published(text, bundle)
    network.text_encoder = None
    tensors = network.state_dict()
    described = describe(manifest.combo, combo, height, manifest.token_length)
    described |= {"input_size": [height, width], "thresholds": manifest.thresholds, "step": 0}
    checkpoint.save(output, network, tensors, None, described | {"unpacked": manifest.name})


@torch.no_grad()
def scramble(network: HumarNet) -> None:
    """Random weights everywhere but in the text encoder; batch norms do nothing but add."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if _is_weight(network, name):
            tensor.normal_(0, SPREAD, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(1.0)
            module.running_mean.zero_()  # type: ignore[union-attr]
            module.running_var.fill_(1.0 - module.eps)  # type: ignore[union-attr]


def aligned(mine: onnx.ModelProto, theirs: onnx.ModelProto) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Constants at the same inputs of the same nodes of two graphs of a network, the second in any precision."""
    from onnx import TensorProto, numpy_helper

    constants, others = initialisers(mine), initialisers(theirs)
    made_by = {name: node for node in theirs.graph.node for name in node.output}
    nodes = {node.name: node for node in theirs.graph.node}

    def value(name: str) -> np.ndarray | None:
        """A constant, through the nodes that turn INT8 or half into float."""
        if name in others:
            return numpy_helper.to_array(others[name])
        node = made_by.get(name)
        stored = value(node.input[0]) if node is not None and node.op_type in ("DequantizeLinear", "Cast") else None
        if node is None or stored is None:
            return None
        stored = stored.astype(np.float32)
        if node.op_type == "Cast":
            return stored
        scale = numpy_helper.to_array(others[node.input[1]])
        shape = [1] * stored.ndim
        if scale.ndim:
            shape[attribute(node, "axis", 1)] = -1
        return stored * scale.reshape(shape)

    for node in mine.graph.node:
        if node.name not in nodes:
            continue
        for index, name in enumerate(node.input):
            if name in constants and constants[name].data_type == TensorProto.FLOAT:
                other = value(nodes[node.name].input[index])
                array = numpy_helper.to_array(constants[name])
                if other is not None and other.shape == array.shape:
                    yield array, other.astype(np.float32)


def weights(network: HumarNet, pairs: Pairs) -> dict[str, np.ndarray]:
    """Weights that are constants as they are, or transposed."""
    found: dict[str, np.ndarray] = {}
    for name, tensor in network.state_dict().items():
        if not _is_weight(network, name):
            continue
        wanted = tensor.numpy()
        for mine, theirs in pairs.get(wanted.size, ()):
            if np.allclose(mine.reshape(wanted.shape), wanted, rtol=0, atol=SAME):
                found[name] = theirs.reshape(wanted.shape)
            elif np.allclose(mine.T.reshape(wanted.shape), wanted, rtol=0, atol=SAME):
                found[name] = np.ascontiguousarray(theirs.T).reshape(wanted.shape)
            else:
                continue
            break
    return found


@torch.no_grad()
def folded(network: HumarNet, engine: Engine, pairs: Pairs) -> dict[str, np.ndarray]:
    """Weights of 1x1 convolutions of nothing but coordinates, of which exported graphs hold a row and a column."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen.setdefault(name, (inputs[0], output))

    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: keep(name, inputs, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.bias is not None
    ]
    engine.module(*engine.samples[0].values())
    for hook in hooks:
        hook.remove()
    found: dict[str, np.ndarray] = {}
    for name, (x, y) in seen.items():
        parts = separate(y.numpy()) if len(x) == 1 else None
        across, down = (_same(part, pairs) for part in parts) if parts is not None else (None, None)
        if across is None or down is None:
            continue
        coordinates = np.vstack([x[0].flatten(1).numpy(), np.ones((1, x[0, 0].numel()), np.float32)])
        maps = (across + down).reshape(y.shape[1], -1)
        solved = np.linalg.lstsq(coordinates.T, maps.T, rcond=None)[0].T
        weight = network.get_parameter(f"{name}.weight")
        found[f"{name}.weight"] = np.ascontiguousarray(solved[:, :-1], np.float32).reshape(weight.shape)
        found[f"{name}.bias"] = np.ascontiguousarray(solved[:, -1], np.float32)
    return found


def _same(wanted: np.ndarray, pairs: Pairs) -> np.ndarray | None:
    """What the bundle has in the place of a constant."""
    mine_and_theirs = pairs.get(wanted.size, ())
    return next((b for a, b in mine_and_theirs if a.shape == wanted.shape and np.allclose(a, wanted, 0, SAME)), None)


def _is_weight(network: HumarNet, name: str) -> bool:
    """Whether it must come from the bundle: not the text encoder, and of batch norms only what they add."""
    module = network.get_submodule(name.rpartition(".")[0])
    norm = isinstance(module, nn.BatchNorm2d) and not name.endswith(".bias")
    return not (norm or name.startswith(ENCODER))


def _require_published(engine: Engine, bundle: Bundle) -> None:
    """The text engine must agree with the published encoder behind the weights that were found."""
    from tokenizers import Tokenizer

    def sentences(run: Run, engine: Engine) -> np.ndarray:
        return np.concatenate([run(sample)["sentence"] for sample in arrays(engine)])

    onnx, _ = onnx_modules()
    # the bundle's vocabulary may be a part of the published one
    samples = caption_samples(Tokenizer.from_file(str(bundle.tokenizer)), CAPTIONS)
    theirs = sentences(onnx_run(onnx.load(str(bundle.text_engine))), replace(engine, samples=samples))
    if (largest := float(np.abs(sentences(torch_run(engine), engine) - theirs).max())) > TEXT_TOLERANCES["int8"]:
        raise ExportError(f"{bundle.path}: its text encoder is not the published one (differs by {largest:.2g})")
