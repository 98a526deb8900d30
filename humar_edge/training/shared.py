"""Sums over all processes of a run; in a single process they cost nothing."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean of a tensor over the processes (a new tensor, without gradient)."""
    values = values.detach().clone()
    if (processes := process_count()) > 1:
        distributed.all_reduce(values)
        values = values / processes
    return values


def shared_counts(*counts: Tensor | int, device: torch.device) -> tuple[Tensor, ...]:
    """Counts to divide sums by, so that averaging gradients over processes equals one process with all the data.

    Args:
        *counts: How many terms this process sums, scalars.
        device: Device of the results.

    Returns:
        For each its mean over processes, float32, never zero.
    """
    stacked = torch.stack([torch.as_tensor(count, dtype=torch.float32, device=device) for count in counts])
    smallest = 1.0 / process_count()
    return tuple(mean_over_processes(stacked).clamp(min=smallest).unbind())
