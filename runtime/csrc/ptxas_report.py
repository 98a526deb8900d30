"""Turn the compiler's register report into the table of docs/plugin.md.

Usage: python runtime/csrc/ptxas_report.py BUILD_DIR/ptxas-report.txt
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

_ENTRY = re.compile(
    r"Compiling entry function '\S*ms_deform_attn_kernelI(?P<value>f|N5humar4HalfE)(?P<weight>f|S\d*_|N5humar4HalfE)"
    r"Li(?P<vector>\d+)ELb(?P<softmax>[01])E\S*' for 'sm_(?P<sm>\d+)'"
)
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


class KernelUse(NamedTuple):
    """What one compiled kernel needs: registers a thread and spilled bytes a thread."""

    value: str
    weight: str
    vector: int
    softmax: bool
    sm: int
    registers: int
    spilled: int


def parse(report: str) -> list[KernelUse]:
    """Read the kernels from what ``ptxas -v`` printed, sorted by their template arguments and the architecture."""
    uses = []
    for block in re.split(r"(?=ptxas info\s+: Compiling entry function)", report):
        entry, spills, registers = _ENTRY.search(block), _SPILLS.search(block), _REGISTERS.search(block)
        if entry and spills and registers:
            value, weight = ("FP32" if entry[name] == "f" else "FP16" for name in ("value", "weight"))
            vector, softmax, sm = int(entry["vector"]), entry["softmax"] == "1", int(entry["sm"])
            spilled = int(spills[1]) + int(spills[2])
            uses.append(KernelUse(value, weight, vector, softmax, sm, int(registers[1]), spilled))
    return sorted(uses)


def table(uses: list[KernelUse]) -> str:
    """Format the kernels as a Markdown table, one row a kernel and one column an architecture."""
    architectures = sorted({use.sm for use in uses})
    rows: dict[tuple[str, str, int, bool], dict[int, KernelUse]] = {}
    for use in uses:
        rows.setdefault(use[:4], {})[use.sm] = use
    lines = [
        "| value | weights | channels a read | softmax | " + " | ".join(f"SM {sm}" for sm in architectures) + " |",
        "|---|---|---|---|" + "---|" * len(architectures),
    ]
    for (value, weight, vector, softmax), by_sm in rows.items():
        cells = [f"{by_sm[sm].registers} / {by_sm[sm].spilled}" for sm in architectures]
        lines.append(f"| {value} | {weight} | {vector} | {'fused' if softmax else 'no'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(parse(Path(sys.argv[1]).read_text(encoding="utf-8"))))
