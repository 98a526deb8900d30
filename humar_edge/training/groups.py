"""Optimizer groups: a learning rate per part of the network, weight decay only where it makes sense."""

from __future__ import annotations

from typing import Any

from torch import nn

from humar_edge.training.recipes import Recipe

TABLES = ("adjacency", "adjacent_matrix", "kinds", "level_embed", "place", "relative_position_bias_table")
"""Ends of the names of parameters that are tables rather than matrices."""


def _plain(network: nn.Module) -> set[int]:
    """Ids of the parameters without decay: norms, biases, embeddings and tables."""
    plain = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2 or isinstance(module, nn.Embedding) or name.endswith(TABLES):
                plain.add(id(parameter))
    return plain


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for AdamW; `base` is the learning rate before the schedule.

    Args:
        network: With `backbone`, `transformer` and perhaps a `text_encoder`; frozen parameters are left out.
        recipe: Rates and decay.
    """
    plain = _plain(network)
    parts = (
        (network.backbone, recipe.backbone_rate),
        (network.transformer, recipe.rate),
        (getattr(network, "attributes", None), recipe.rate),
        (getattr(network, "text_encoder", None), recipe.text_rate),
    )
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    rates = [rate for _, rate in parts]
    for index, (module, _) in enumerate(parts):
        if not isinstance(module, nn.Module):
            continue
        for parameter in module.parameters():
            if parameter.requires_grad:
                decay = 0.0 if id(parameter) in plain else recipe.decay
                groups.setdefault((index, decay), []).append(parameter)
    return [
        {"params": found, "lr": rates[index], "base": rates[index], "weight_decay": decay}
        for (index, decay), found in groups.items()
    ]
