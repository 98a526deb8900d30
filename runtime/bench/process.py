"""Main memory of this process and the processors it runs on, as Linux tells them."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def resident() -> tuple[int, int]:
    """Bytes of this process in main memory now and at most since `reset_peak`; zeros where the system has no /proc."""
    try:
        text = (PROC / "self" / "status").read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    found = {key: int(kib) * 1024 for key, kib in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.MULTILINE)}
    return found.get("VmRSS", 0), found.get("VmHWM", 0)


def reset_peak() -> None:
    """Start the peak of `resident` again (proc(5), clear_refs); the system may refuse, then the old peak stays."""
    with suppress(OSError):
        (PROC / "self" / "clear_refs").write_text("5", encoding="utf-8")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float | None:
    """Load average of the last minute; None where the system has none, as in some containers."""
    with suppress(AttributeError, OSError):
        return os.getloadavg()[0]
    return None


def cpu_name() -> str:
    """The processor, or the Jetson module, as the system calls it."""
    for path, pattern in (
        (PROC / "device-tree" / "model", r"([^\0]+)"),
        (PROC / "cpuinfo", r"model name\s*:\s*(.+)"),
    ):
        with suppress(OSError):
            if match := re.search(pattern, path.read_text(encoding="utf-8")):
                return match[1].strip()
    return platform.processor() or platform.machine()
