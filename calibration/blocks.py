"""Which parts of a graph a precision plan can treat one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from humar_edge.export.graph import path_of
from humar_edge.export.int8 import quantizable
from humar_edge.export.plan import INT8_BLOCKS, PLANS

if TYPE_CHECKING:
    import onnx


def blocks_of(model: onnx.ModelProto, depth: int = 1) -> dict[str, int]:
    """Blocks that hold something to quantise, in the order of the graph.

    Args:
        model: FP32 vision engine.
        depth: Levels below the parts of the standard INT8 plan (`INT8_BLOCKS`); 0 takes each part as one block.
            Modules that hold only one other module count as that one.

    Returns:
        Module path, as plans take it -> number of nodes that INT8 would reach.
    """
    chosen = quantizable(model, PLANS["int8"])
    paths = [path_of(node) for node in model.graph.node if node.name in chosen]
    found: dict[str, int] = {}
    for part in INT8_BLOCKS:
        inside = [path.split("/") for path in paths if path.startswith(f"{part}/")]
        if inside:
            found |= _split(inside, len(part.split("/")), depth)
    return found


def _split(paths: Sequence[Sequence[str]], level: int, depth: int) -> dict[str, int]:
    """Group paths by what follows their first `level` names, which they share."""
    if depth == 0 or all(len(path) == level for path in paths):
        return {"/".join(paths[0][:level]): len(paths)}
    while len({path[level] for path in paths}) == 1 and all(len(path) > level + 1 for path in paths):
        level += 1
    groups: dict[str, list[Sequence[str]]] = defaultdict(list)
    for path in paths:
        groups[path[level]].append(path)
    found: dict[str, int] = {}
    for members in groups.values():
        found |= _split(members, level + 1, depth - 1)
    return found
