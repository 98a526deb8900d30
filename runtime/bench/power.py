"""Power and thermal throttling, where the machine lets a program read them.

Sources: the INA3221 sensors of Jetson boards (sysfs), nvidia-smi, and Intel RAPL (powercap; usually root only).
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

SYS = Path("/sys")

BOARD_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Names of the rail that feeds the whole Jetson module; without one of them the rails are added."""

SMI_FIELDS = ("power.draw", "clocks_throttle_reasons.active")
SMI_EVERY_MS = 200

SMI_REASONS = {
    0x08: "GPU: hardware slowdown",
    0x20: "GPU: software thermal slowdown",
    0x40: "GPU: hardware thermal slowdown",
    0x80: "GPU: power brake",
}
"""Bits of NVML's clock event reasons that mean heat or lack of power; idle and power caps are normal."""


class Meter(Protocol):
    """Mean power between `begin` and `end`."""

    name: str

    def begin(self) -> None:
        """Start of what is measured."""

    def end(self) -> float | None:
        """Watts since `begin`; None when there was no reading."""

    def throttled(self) -> Sequence[str]:
        """Reasons for which a clock was lowered since the meter was opened."""

    def close(self) -> None:
        """Stop reading."""


class Rapl:
    """Energy counters of Intel and AMD processor packages, in microjoules."""

    name = "RAPL (processor package)"

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") or 0 for zone in zones]
        self.begin()

    @classmethod
    def find(cls) -> Rapl | None:
        """The packages' counters, None when there are none or they are for root only."""
        zones = sorted((SYS / "class" / "powercap").glob("intel-rapl:*"))
        packages = [zone for zone in zones if zone.name.count(":") == 1 and _number(zone / "energy_uj") is not None]
        return cls(packages) if packages else None

    def begin(self) -> None:
        """Read the counters."""
        self._start = [_number(zone / "energy_uj") or 0 for zone in self._zones]
        self._time = time.perf_counter()

    def end(self) -> float | None:
        """Energy by time; a counter that started again at zero is taken into account."""
        seconds = time.perf_counter() - self._time
        total = 0
        for zone, start, top in zip(self._zones, self._start, self._ranges, strict=True):
            now = _number(zone / "energy_uj")
            if now is None:
                return None
            total += now - start if now >= start else now - start + top
        return total / 1e6 / seconds if seconds > 0 else None

    def throttled(self) -> Sequence[str]:
        """The counters say nothing about it."""
        return ()

    def close(self) -> None:
        """Nothing to stop."""


class Ina:
    """Sensors of a Jetson: millivolts times milliamperes, averaged by the chip."""

    name = "INA3221 (board)"

    def __init__(self, rails: Sequence[tuple[Path, Path]]) -> None:
        self._rails = rails

    @classmethod
    def find(cls) -> Ina | None:
        """The rail of the whole module, else all rails; None on other machines."""
        rails: dict[str, tuple[Path, Path]] = {}
        for label in sorted(SYS.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input")
            with suppress(OSError):
                if _number(volts) is not None and _number(amperes) is not None:
                    rails[label.read_text(encoding="utf-8").strip()] = (volts, amperes)
        whole = [rails[name] for name in BOARD_RAILS if name in rails]
        return cls(whole[:1] or list(rails.values())) if rails else None

    def begin(self) -> None:
        """The chip averages by itself."""

    def end(self) -> float | None:
        """Watts now."""
        values = [(_number(volts), _number(amperes)) for volts, amperes in self._rails]
        if any(volts is None or amperes is None for volts, amperes in values):
            return None
        return sum(volts * amperes for volts, amperes in values if volts is not None and amperes is not None) / 1e6

    def throttled(self) -> Sequence[str]:
        """The sensors say nothing about it."""
        return ()

    def close(self) -> None:
        """Nothing to stop."""


class NvidiaSmi:
    """Power and reasons of slow clocks of the first GPU, from one nvidia-smi process that keeps printing."""

    name = "nvidia-smi (GPU board)"

    def __init__(self, program: str) -> None:
        self._samples: list[tuple[float, float]] = []
        self._reasons = 0
        self._begun = time.perf_counter()
        fields = ",".join(SMI_FIELDS)
        self._process = subprocess.Popen(
            [program, "--id=0", f"--query-gpu={fields}", "--format=csv,noheader,nounits", f"-lms={SMI_EVERY_MS}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @classmethod
    def find(cls) -> NvidiaSmi | None:
        """None where there is no nvidia-smi."""
        program = shutil.which("nvidia-smi")
        return cls(program) if program else None

    def begin(self) -> None:
        """Only readings from now on count."""
        self._begun = time.perf_counter()

    def end(self) -> float | None:
        """Mean of the readings since `begin`."""
        found = [watts for at, watts in self._samples if at >= self._begun]
        return sum(found) / len(found) if found else None

    def throttled(self) -> Sequence[str]:
        """What NVML gave as reasons, in words."""
        return [text for bit, text in SMI_REASONS.items() if self._reasons & bit]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            power, _, reasons = (part.strip() for part in line.partition(","))
            with suppress(ValueError):  # "[N/A]" on boards without the sensor
                self._samples.append((time.perf_counter(), float(power)))
            with suppress(ValueError):
                self._reasons |= int(reasons, 16)


METERS: dict[str, tuple[Callable[[], Meter | None], ...]] = {
    "gpu": (Ina.find, NvidiaSmi.find),
    "cpu": (Ina.find, Rapl.find),
}
"""What is tried for each kind of device, best first. A Jetson's sensor covers both."""


def open_meter(kind: str) -> Meter | None:
    """The first meter that works here for a "gpu" or "cpu", None when none does."""
    for find in METERS[kind]:
        found = find()
        if found is not None:
            return found
    return None


def cpu_throttle_events() -> int:
    """How often processors were slowed down because of heat since the start of the machine; 0 where nothing counts."""
    counters = (SYS / "devices" / "system" / "cpu").glob("cpu*/thermal_throttle/*_throttle_count")
    return sum(_number(counter) or 0 for counter in counters)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
