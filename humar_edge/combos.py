"""The customer's components and combinations as plain data.

Parameter figures are the customer's nominal ones; `humar-edge list` counts the exact ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from humar_edge.errors import ConfigError


@dataclass(frozen=True)
class Component:
    """One row of a component table: nominal parameters (millions, as documented) and what it is."""

    params: str
    description: str


@dataclass(frozen=True)
class TextComponent(Component):
    """A text encoder: `dim` is the width of its word features, `hub` where it loads from (None: from scratch)."""

    dim: int
    hub: str | None


@dataclass(frozen=True)
class BackboneComponent(Component):
    """A backbone: `channels` at strides 4, 8, 16 and 32."""

    channels: tuple[int, int, int, int]


@dataclass(frozen=True)
class Combo:
    """A combination of components. `overrides` go to the transformer's constructor."""

    transformer_type: str
    text_encoder_type: str
    backbone: str
    best_for: str
    total: str = ""
    rank: int | None = None
    experimental: bool = False
    input_size: tuple[int, int] = (640, 640)
    overrides: dict[str, int] = field(default_factory=dict)


TRANSFORMERS: dict[str, Component] = {
    "fully_conv_optim": Component("2-3M", "Ghost modules, inverted bottlenecks, SE attention, SPPF"),
    "efficient": Component("11M", "linear attention O(N), convolution and attention blocks"),
    "fully_conv": Component("12M", "pure convolution, ConvNeXt blocks, SPP"),
    "original": Component("27M", "deformable attention, full transformer (UniPHD)"),
}

TEXT_ENCODERS: dict[str, TextComponent] = {
    "tinybert": TextComponent("14.5M", "ultra-light BERT distillation", 312, "huawei-noah/TinyBERT_General_4L_312D"),
    "minilm": TextComponent("23M", "efficient sentence transformer", 384, "sentence-transformers/all-MiniLM-L6-v2"),
    "distilbert": TextComponent("66M", "distilled BERT", 768, "distilbert/distilbert-base-uncased"),
    "tite": TextComponent("1M", "learned token and position embeddings, limited vocabulary", 768, None),
    "roberta": TextComponent("125M", "the paper's encoder, highest quality", 768, "FacebookAI/roberta-base"),
}

BACKBONES: dict[str, BackboneComponent] = {
    "segformer_b0": BackboneComponent("3.7M", "hierarchical vision transformer (MiT-B0)", (32, 64, 160, 256)),
    "segformer_b1": BackboneComponent("13.7M", "hierarchical vision transformer (MiT-B1)", (64, 128, 320, 512)),
    "mobilevit_xxs": BackboneComponent("1M", "hybrid CNN and transformer", (24, 48, 64, 320)),
    "mobilevit_xs": BackboneComponent("2M", "hybrid CNN and transformer", (48, 64, 80, 384)),
    "mobilevit_s": BackboneComponent("5M", "hybrid CNN and transformer", (64, 96, 128, 640)),
    "efficientformer_l1": BackboneComponent("11.4M", "EfficientFormer", (48, 96, 224, 448)),
    "efficientformer_l3": BackboneComponent("30.4M", "EfficientFormer", (64, 128, 320, 512)),
    "efficientformer_l7": BackboneComponent("80.7M", "EfficientFormer", (96, 192, 384, 768)),
    "efficientformerv2_s0": BackboneComponent("3.2M", "EfficientFormer V2", (32, 48, 96, 176)),
    "efficientformerv2_s1": BackboneComponent("5.7M", "EfficientFormer V2", (32, 48, 120, 224)),
    "efficientformerv2_s2": BackboneComponent("12.1M", "EfficientFormer V2", (32, 64, 144, 288)),
    "poolformer_s12": BackboneComponent("11.4M", "MetaFormer with pooling", (64, 128, 320, 512)),
    "poolformer_s24": BackboneComponent("21M", "MetaFormer with pooling", (64, 128, 320, 512)),
    "poolformer_s36": BackboneComponent("30.3M", "MetaFormer with pooling", (64, 128, 320, 512)),
    "swin_T_224_1k": BackboneComponent("28M", "Swin-T, the paper's backbone", (96, 192, 384, 768)),
    "efficientnet_lite0": BackboneComponent("3.0M", "INT8-friendly convolutions, embedded default", (24, 40, 112, 320)),
}

_FCO = "fully_conv_optim"
_NARROW = {"maps": 80, "width": 96}
"""The widths with which a text encoder as small as `tite` makes a model of 6M."""

COMBOS: dict[str, Combo] = {
    "ultra-light": Combo(_FCO, "tinybert", "segformer_b0", "4-6 GB GPUs, fast inference (best efficiency)", "20M", 1),
    "balanced-light": Combo(_FCO, "minilm", "segformer_b0", "general use, 6 GB and more (recommended)", "29M", 2),
    "higher-capacity-light": Combo(_FCO, "minilm", "segformer_b1", "8 GB and more, complex scenes", "36M", 3),
    "efficient-attn-light": Combo("efficient", "minilm", "segformer_b0", "long-range dependencies", "38M", 4),
    "full-featured-light": Combo(_FCO, "distilbert", "segformer_b0", "complex text queries", "72M", 5),
    "efficient-balanced": Combo("efficient", "minilm", "segformer_b1", "all-round", "48M", 6),
    "tite-ultra-light": Combo(
        _FCO, "tite", "segformer_b0", "limited vocabulary", "6M", 7, experimental=True, overrides=_NARROW
    ),
    "pure-conv-light": Combo("fully_conv", "minilm", "segformer_b0", "convolution-only baseline", "39M", 8),
    "original-light": Combo("original", "minilm", "segformer_b0", "middle ground", "54M", 9),
    "original-baseline": Combo(
        "original", "roberta", "swin_T_224_1k", "paper configuration, maximum accuracy", "180M", 10
    ),
    "mobile": Combo(_FCO, "tinybert", "mobilevit_s", "mobile-optimised", rank=11, experimental=True),
    "memory-constrained": Combo(
        _FCO,
        "tite",
        "segformer_b0",
        "4 GB VRAM",
        rank=12,
        experimental=True,
        input_size=(384, 384),
        overrides=_NARROW,
    ),
    "max-efficiency": Combo(_FCO, "tinybert", "poolformer_s12", "research", rank=13, experimental=True),
    "edge-lite": Combo(
        _FCO, "minilm", "efficientnet_lite0", "the embedded default, fast on CPUs", input_size=(384, 384)
    ),
}


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of `names`, else raise a ConfigError that names near matches."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    raise ConfigError(f"unknown {kind} '{name}'; {hint}")


def resolve(
    combo: str,
    *,
    transformer_type: str | None = None,
    text_encoder_type: str | None = None,
    backbone: str | None = None,
) -> Combo:
    """Look up a combination and replace single components.

    Args:
        combo: A key of `COMBOS`.
        transformer_type: Replaces the combination's transformer.
        text_encoder_type: Replaces the text encoder; `hf:<model-id-or-path>` names any Hugging Face encoder.
        backbone: Replaces the backbone.

    Raises:
        ConfigError: A name is unknown; the message names near matches.
    """
    found = COMBOS[known("combination", combo, COMBOS)]
    if transformer_type is not None:
        own = found.overrides if transformer_type == found.transformer_type else {}
        found = replace(found, transformer_type=known("transformer", transformer_type, TRANSFORMERS), overrides=own)
    if text_encoder_type is not None:
        if not text_encoder_type.startswith("hf:"):
            known("text encoder", text_encoder_type, TEXT_ENCODERS)
        found = replace(found, text_encoder_type=text_encoder_type)
    if backbone is not None:
        found = replace(found, backbone=known("backbone", backbone, BACKBONES))
    return found
