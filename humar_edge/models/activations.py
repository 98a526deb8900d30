"""Counts the bytes that intermediate results of a network take at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Context manager: the most bytes that tensors made inside it took at the same time.

    Views count once, with the storage they share. Use it with gradients off, or every intermediate result stays alive.

    Attributes:
        peak: Bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        inputs = {id_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if not isinstance(leaf, torch.Tensor):
                continue
            key = id_of(leaf)
            if key in self._known or key in inputs:
                continue
            size = leaf.untyped_storage().nbytes()
            self._known.add(key)
            self._live += size
            weakref.finalize(leaf.untyped_storage(), self._forget, key, size)
        self.peak = max(self.peak, self._live)
        return found


def id_of(tensor: torch.Tensor) -> int:
    """What tensors that share memory have in common."""
    return tensor.untyped_storage()._cdata
