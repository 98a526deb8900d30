"""How an engine is built."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from humar_edge.errors import ConfigError
from humar_edge.runtime.device.base import DeviceInfo

MIB = 1024 * 1024
INTEGRATED_SHARE = 2
"""On a board whose GPU shares the memory of the CPU the builder gets at most 1/2 of what is free: the tactic that needs
it all is what gets the process killed."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of one build. They are part of the cache key; precision is not among them, it lives in the ONNX file.

    Attributes:
        workspace_mb: Upper limit of the scratch memory a layer may take, MiB; None leaves it to TensorRT on a
            graphics card and takes half of the free memory on a Jetson.
        optimization_level: 0 (quick build) to 5 (slow build, best engine).
        timing_cache: Remember layer timings, so that the next build of a similar network is quicker.
        version_compatible: The engine also loads in newer TensorRT versions of the same major number; may be slower.
        hardware_compatible: The engine also runs on other GPUs of Ampere and newer; may be slower; not on a Jetson.
        tf32: Let float32 layers use TF32 tensor cores (10-bit mantissa).
    """

    workspace_mb: int | None = None
    optimization_level: int = 3
    timing_cache: bool = True
    version_compatible: bool = False
    hardware_compatible: bool = False
    tf32: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.optimization_level <= 5:
            raise ConfigError(f"the optimisation level must be 0 to 5, got {self.optimization_level}")
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise ConfigError(f"the workspace must be at least 1 MiB, got {self.workspace_mb}")

    def workspace_bytes(self, device: DeviceInfo, free: int) -> int | None:
        """The workspace limit on this GPU with so many free bytes; None means TensorRT's own limit."""
        if self.workspace_mb is not None:
            return self.workspace_mb * MIB
        return max(free // INTEGRATED_SHARE, MIB) if device.integrated else None

    def check(self, device: DeviceInfo) -> None:
        """Refuse what TensorRT does not support on this GPU."""
        if self.hardware_compatible and device.integrated:
            raise ConfigError("hardware-compatible engines do not exist on a Jetson; build without that option")

    def as_key(self) -> dict[str, int | bool | None]:
        """What the cache key contains: everything that changes the engine."""
        return {name: value for name, value in asdict(self).items() if name != "timing_cache"}
