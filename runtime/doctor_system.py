"""Facts about the operating system, the camera library and the board."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

TEGRA = Path("/etc/nv_tegra_release")
MEMINFO = Path("/proc/meminfo")
DEVICES = Path("/dev")
GUIS = ("QT", "GTK+", "Win32 UI", "Cocoa", "Wayland")


def opencv_parts() -> dict[str, str] | None:
    """Version, and what OpenCV was built with ("" for what is not there); None without OpenCV."""
    try:
        import cv2
    except ImportError:
        return None
    built = cv2.getBuildInformation()

    def line(name: str) -> str:
        match = re.search(rf"^\s*{re.escape(name)}:\s*(YES.*)$", built, re.MULTILINE)
        return match.group(1).strip() if match else ""

    gui = next((name for name in GUIS if line(name)), "")
    return {"version": cv2.__version__, "GStreamer": line("GStreamer"), "FFmpeg": line("FFMPEG"), "GUI": gui}


def cameras() -> list[str]:
    """Video devices that this user may open."""
    devices = sorted(DEVICES.glob("video*"), key=lambda path: (len(path.name), path.name))
    return [str(path) for path in devices if os.access(path, os.R_OK | os.W_OK)]


def memory() -> tuple[int, int]:
    """Free and total bytes of main memory; zeros where the system does not say."""
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
    return kib.get("MemAvailable", 0) * 1024, kib.get("MemTotal", 0) * 1024


def disk(path: Path) -> int:
    """Free bytes where the path is, or would be."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def jetson() -> dict[str, str] | None:
    """Release and power mode of a Jetson; None on other machines."""
    try:
        text = TEGRA.read_text(encoding="utf-8")
    except OSError:
        return None
    release = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return {"release": f"L4T {release[1]}.{release[2]}" if release else "L4T", "mode": _power_mode()}


def _power_mode() -> str:
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown, nvpmodel does not answer"
    match = re.search(r"NV Power Mode:\s*(\S+)", done.stdout)
    return match.group(1) if match else "unknown"
