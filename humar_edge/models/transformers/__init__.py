"""Prompt-conditioned networks: one table from the public name to the family's constructor."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from humar_edge.combos import TRANSFORMERS, known

BUILDERS: dict[str, str] = {
    "fully_conv_optim": "humar_edge.models.transformers.fully_conv_optim:fully_conv_optim",
    "efficient": "humar_edge.models.transformers.efficient:efficient",
    "fully_conv": "humar_edge.models.transformers.fully_conv:fully_conv",
}
"""Light families; `original` is a whole network of its own (humar_edge.models.original)."""


def build_transformer(name: str, channels: tuple[int, ...], text_dim: int, **overrides: Any) -> nn.Module:
    """Build a light family by its public name.

    Args:
        name: A key of `BUILDERS`.
        channels: Backbone channels at strides 4, 8, 16, 32.
        text_dim: Width of the text encoder.
        **overrides: Passed to the family's constructor.

    Raises:
        ConfigError: The name is unknown.
    """
    module, attribute = BUILDERS[known("transformer", name, TRANSFORMERS)].split(":")
    network: nn.Module = getattr(import_module(module), attribute)(channels, text_dim, **overrides)
    return network
