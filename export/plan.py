"""Precision plans: which blocks of a vision engine run in INT8, FP16 or FP32. Plain JSON, made to be edited.

    {"name": "int8", "default": "fp32", "blocks": {"backbone": "int8", "neck": "int8", "transformer/fusion": "int8"}}

A block is a module path as it stands in the ONNX node names; the longest one that fits a node counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from humar_edge.errors import ConfigError

PRECISIONS = ("int8", "fp16", "fp32")


@dataclass(frozen=True)
class Plan:
    """Precision by block.

    Attributes:
        blocks: Module path -> precision.
        default: Precision of everything else.
        name: What the manifest calls it.
    """

    blocks: Mapping[str, str] = field(default_factory=dict)
    default: str = "fp32"
    name: str = "plan"

    def __post_init__(self) -> None:
        """Refuse unknown precisions."""
        for block, precision in {**self.blocks, "default": self.default}.items():
            if precision not in PRECISIONS:
                raise ConfigError(f"precision plan: '{block}' is '{precision}', not one of {', '.join(PRECISIONS)}")

    def precision(self, path: str) -> str:
        """Precision of the node at a path."""
        fitting = [block for block in self.blocks if lies_in(path, block)]
        return self.blocks[max(fitting, key=len)] if fitting else self.default

    def uses(self, precision: str) -> bool:
        """Whether any block has this precision."""
        return precision in (*self.blocks.values(), self.default)

    @classmethod
    def from_dict(cls, data: Any, name: str = "plan") -> Plan:
        """Read a plan.

        Raises:
            ConfigError: It is none.
        """
        blocks = data.get("blocks") if isinstance(data, Mapping) else None
        if not isinstance(blocks, Mapping) or not all(isinstance(value, str) for value in blocks.values()):
            raise ConfigError('precision plan: it needs {"blocks": {"backbone": "int8", ...}, "default": "fp32"}')
        return cls(dict(blocks), str(data.get("default", "fp32")), str(data.get("name", name)))

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan from a JSON file.

        Raises:
            ConfigError: The file cannot be read or is no plan.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"precision plan {path} cannot be read ({error})") from error
        return cls.from_dict(data, path.stem)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "blocks": dict(self.blocks)}


def lies_in(path: str, block: str) -> bool:
    """Whether the node at a path belongs to a block."""
    return path == block or path.startswith(block.rstrip("/") + "/")


INT8_BLOCKS = ("backbone", "neck", "transformer/fusion", "transformer/instance")
"""What the standard INT8 plan quantises; `humar_edge.export.int8.FLOAT` exempts parts of it."""

PLANS: dict[str, Plan] = {
    "fp32": Plan(name="fp32"),
    "fp16": Plan(default="fp16", name="fp16"),
    "int8": Plan(dict.fromkeys(INT8_BLOCKS, "int8"), "fp32", "int8"),
    "int8-fp16": Plan(dict.fromkeys(INT8_BLOCKS, "int8"), "fp16", "int8-fp16"),
}
"""Plans by name. On CPUs what is not INT8 runs in FP32 anyway; on GPUs "int8-fp16" saves the rest as well."""


def plan_of(text: str) -> Plan:
    """A plan by name or from a JSON file.

    Raises:
        ConfigError: Neither.
    """
    if text in PLANS:
        return PLANS[text]
    if Path(text).suffix == ".json":
        return Plan.load(Path(text))
    raise ConfigError(f"unknown precision '{text}'; choose {', '.join(PLANS)}, or a plan (JSON file)")
