"""Referring human pose and mask estimation on small machines.

A prompt picks one person in a picture; the answer is 17 COCO keypoints, a box and a mask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from humar_edge.api import HumarEdge
    from humar_edge.results import Person

__version__ = "0.1.0"

__all__ = ["HumarEdge", "Person", "__version__"]

# Imported on first use: the command line must answer `--help` without loading numpy and OpenCV.
_LAZY = {"HumarEdge": "humar_edge.api", "Person": "humar_edge.results"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
