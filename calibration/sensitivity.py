"""What INT8 costs and saves in each block: one block quantised, the rest in FP32, metrics measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from humar_edge.calibration.workbench import Measured, Workbench
from humar_edge.export.int8 import apply_plan
from humar_edge.export.plan import Plan

if TYPE_CHECKING:
    import numpy as np

LEAST_GAIN = 0.02
"""Milliseconds: smaller gains, and losses, are within the noise of the clock and count as this."""

TIE_BREAKERS = ("score", "box", "keypoints")
"""Outputs in [0, 1] whose mean errors add to the damage."""


@dataclass(frozen=True)
class Damage:
    """One block in INT8 alone.

    Attributes:
        block: Module path.
        nodes: Nodes that INT8 reaches.
        measured: Against FP32.
    """

    block: str
    nodes: int
    measured: Measured

    @property
    def damage(self) -> float:
        """Largest loss of a metric plus the mean errors of score, box and keypoints.

        On a few hundred prompts a single block often changes no metric, or changes it by one lucky prompt; the mean
        errors of the outputs still tell blocks apart.
        """
        errors = [self.measured.outputs[name]["mean"] or 0.0 for name in TIE_BREAKERS if name in self.measured.outputs]
        return max(self.measured.worst_drop, 0.0) + sum(errors)

    @property
    def price(self) -> float:
        """Damage per millisecond saved: what the search gives up first."""
        return self.damage / max(self.measured.gain, LEAST_GAIN)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = asdict(self.measured)
        rounded = {name: {key: _short(value) for key, value in found[name].items()} for name in ("metrics", "drops")}
        outputs = {
            name: {key: _short(figures[key]) for key in ("max", "mean", "p99")}
            for name, figures in self.measured.outputs.items()
        }
        return {
            "block": self.block,
            "nodes": self.nodes,
            "damage": _short(self.damage),
            "gain_ms": _short(self.measured.gain),
            **rounded,
            "outputs": outputs,
        }


def measure_sensitivity(
    bench: Workbench,
    blocks: Mapping[str, int],
    ranges: Mapping[str, float],
    shifts: Mapping[str, np.ndarray],
    on_block: Callable[[], None] | None = None,
) -> list[Damage]:
    """Quantise one block at a time.

    Args:
        bench: Holds the FP32 engine and the prompts.
        blocks: Module path -> nodes in it.
        ranges: Calibrated range of every tensor that the standard INT8 plan quantises.
        shifts: What corrects the biases of its convolutions.
        on_block: Called after every block.

    Returns:
        The blocks, most expensive (damage per millisecond saved) first.
    """
    found = []
    for block, nodes in blocks.items():
        plan = Plan({block: "int8"}, "fp32", block)
        found.append(Damage(block, nodes, bench.measure(apply_plan(bench.model, plan, ranges, shifts))))
        if on_block is not None:
            on_block()
    return ranked(found)


def ranked(damages: Sequence[Damage]) -> list[Damage]:
    """Most expensive first."""
    return sorted(damages, key=lambda item: -item.price)


def sensitivity_table(damages: Sequence[Damage]) -> Table:
    """A row per block, most expensive first; metrics as changes against FP32, errors as means."""
    made = Table(title="one block in INT8, the rest in FP32", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    metrics = list(damages[0].measured.drops) if damages else []
    for heading in ("block", "nodes", "saves ms", *metrics, *TIE_BREAKERS):
        made.add_column(heading, justify="left" if heading == "block" else "right", no_wrap=True)
    for damage in damages:
        measured = damage.measured
        made.add_row(
            damage.block,
            str(damage.nodes),
            f"{measured.gain:.2f}",
            *(f"{-measured.drops[name]:+.4f}" for name in metrics),
            *(f"{measured.outputs[name]['mean'] or 0:.1e}" for name in TIE_BREAKERS),
        )
    return made


def _short(value: float | None) -> float | None:
    return None if value is None or value != value or abs(value) == float("inf") else float(f"{value:.4g}")
