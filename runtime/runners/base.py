"""What every inference backend looks like, and the checks they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from humar_edge.errors import BackendError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class TensorSpec:
    """Shape and numpy type of one input or output; -1 in the shape stands for any size."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        """For example `uint8[1, 384, 384, 3]`."""
        return f"{self.dtype.name}{list(self.shape)}"

    def accepts(self, array: np.ndarray) -> bool:
        """Whether an array has this shape and type."""
        same_rank = len(self.shape) == array.ndim
        sizes = zip(self.shape, array.shape, strict=False)
        return same_rank and self.dtype == array.dtype and all(want in (-1, size) for want, size in sizes)


@runtime_checkable
class Runner(Protocol):
    """One engine on one device; a context manager.

    Attributes:
        name: The backend's name in the table of backends.
        device: The device in use, for people to read.
        input_specs: Inputs by name.
        output_specs: Outputs by name.
    """

    name: str
    device: str
    input_specs: dict[str, TensorSpec]
    output_specs: dict[str, TensorSpec]

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once. The outputs belong to the caller: later runs do not change them.

        Raises:
            BackendError: An input is missing, unknown, or of the wrong shape or type.
        """
        ...

    def close(self) -> None:
        """Free the engine; the runner cannot be used afterwards."""
        ...

    def __enter__(self) -> Self:
        """The runner itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the engine."""
        self.close()


def checked(specs: Mapping[str, TensorSpec], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs in the engine's order, contiguous in memory.

    Raises:
        BackendError: Names the input that is missing, unknown, or of the wrong shape or type.
    """
    _check_names(specs, inputs)
    for name, spec in specs.items():
        array = inputs[name]
        if not spec.accepts(array):
            given = TensorSpec(tuple(array.shape), array.dtype)
            raise BackendError(f"input '{name}' must be {spec}, got {given}")
    return {name: np.ascontiguousarray(inputs[name]) for name in specs}


def _check_names(specs: Iterable[str], inputs: Iterable[str]) -> None:
    wanted, given = set(specs), set(inputs)
    if missing := sorted(wanted - given):
        raise BackendError(f"the engine needs input {', '.join(missing)}")
    if unknown := sorted(given - wanted):
        raise BackendError(f"the engine has no input {', '.join(unknown)}; it has {', '.join(sorted(wanted))}")
