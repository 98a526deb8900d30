"""Processes, devices and precision, through accelerate."""

from __future__ import annotations

from datetime import timedelta

import torch
from torch import nn

from humar_edge.errors import ConfigError, MissingExtraError
from humar_edge.models.torchvision_guard import guard_torchvision

guard_torchvision()  # accelerate imports what imports torchvision
try:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
except ImportError as error:
    raise MissingExtraError("accelerate", "train") from error

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""Our name -> accelerate's."""

PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which validates alone."""


def open_accelerator(precision: str = "fp32", device: str | None = None) -> Accelerator:
    """The processes of this run (as its launcher set them up) and its mixed precision.

    Args:
        precision: A key of `PRECISIONS`.
        device: `cpu`, `cuda`, `cuda:N`, or None: a GPU if there is one.

    Raises:
        ConfigError: The device is not there, or cannot compute in this precision.
    """
    cpu = device == "cpu" or not torch.cuda.is_available()
    if device not in (None, "cpu") and cpu:
        raise ConfigError(f"--device {device}: PyTorch sees no GPU here; leave the option out to train on the CPU")
    if precision == "fp16" and cpu:
        raise ConfigError("fp16 trains on GPUs only; use --precision bf16 or fp32 on the CPU")
    if device is not None and device.startswith("cuda:"):
        torch.cuda.set_device(device)
    if PartialState._shared_state and PartialState().num_processes == 1:
        # accelerate keeps device and precision of the first run of a process for ever
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=PRECISIONS[precision],
        cpu=cpu,
        kwargs_handlers=[
            # a batch without points, or without people, leaves parameters without gradients
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def default_precision(device: str | None) -> str:
    """`bf16` on a GPU that computes in it, else `fp32`."""
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"


def gpu_memory_gb(device: str | None) -> float | None:
    """Memory of the GPU to train on; None on a CPU."""
    if device == "cpu" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(device or "cuda").total_memory / 2**30


def share_norms(network: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Batch norms that count over all GPUs; PyTorch has none for CPUs, where each process counts for itself."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return network


def fix_norms(network: nn.Module) -> None:
    """Let batch norms keep the statistics that they have."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
