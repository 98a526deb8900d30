"""What this machine has for running bundles, and what to do about what is missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from humar_edge.errors import HumarError
from humar_edge.runtime.doctor_system import cameras, disk, jetson, memory, opencv_parts

OK, MISSING, WRONG, LOW = "OK", "missing", "wrong version", "low"

RUNNERS = ("TensorRT", "OpenVINO", "onnxruntime")
"""Subjects of which one must be OK (TensorRT together with the GPU) for anything to run."""

GIB = 1 << 30
LEAST_MEMORY, LEAST_DISK = 1 * GIB, 2 * GIB
"""Below this the lines say "low": a first engine build on a small board needs about as much."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: What was looked at.
        state: "OK", "missing", "wrong version" or "low".
        found: What is there.
        advice: What to do; empty when there is nothing to do.
    """

    subject: str
    state: str
    found: str
    advice: str = ""


def _package(subject: str, name: str, oldest: tuple[int, ...], install: str) -> Finding:
    try:
        there = version(name)
    except PackageNotFoundError:
        return Finding(subject, MISSING, "", install)
    from humar_edge.runtime.tensorrt import version_tuple

    if version_tuple(there)[: len(oldest)] < oldest:
        least = ".".join(map(str, oldest))
        return Finding(subject, WRONG, there, f"{least} or newer is needed; {install}")
    return Finding(subject, OK, there)


def _python() -> list[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    state = OK if sys.version_info >= (3, 10) else WRONG
    return [Finding("Python", state, found, "" if state == OK else "use Python 3.10 or newer")]


def _gpu() -> list[Finding]:
    from humar_edge.runtime.device import open_device

    try:
        device = open_device()
        with device.active():
            info, (free, total) = device.info(), device.memory()
        device.close()
    except HumarError as error:
        # The driver may be there although no Python package can talk to it.
        tool = shutil.which("nvidia-smi") or shutil.which("tegrastats")
        driver = Finding("driver", OK if tool else MISSING, tool or "", "" if tool else "install the NVIDIA driver")
        advice = "only needed for TensorRT; without it bundles run on the CPU"
        return [Finding("GPU", MISSING, str(error), advice), driver, Finding("CUDA", MISSING, "", advice)]
    name = f"{info.name}, compute capability {info.compute_capability}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    findings = [Finding("GPU", OK, name), Finding("driver", OK, f"up to CUDA {info.driver_cuda}")]
    if _numbers(info.driver_cuda)[0] < _numbers(info.runtime_cuda)[0]:
        advice = f"install a newer driver, or packages for CUDA {_numbers(info.driver_cuda)[0]}"
        return [*findings, Finding("CUDA", WRONG, f"{info.runtime_cuda}, driver only {info.driver_cuda}", advice)]
    return [*findings, Finding("CUDA", OK, info.runtime_cuda)]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _tensorrt() -> list[Finding]:
    from humar_edge.runtime.tensorrt import load_tensorrt

    try:
        trt = load_tensorrt()
    except HumarError as error:
        state = WRONG if "too old" in str(error) else MISSING
        return [Finding("TensorRT", state, "", str(error))]
    return [Finding("TensorRT", OK, trt.__version__)]


def _cuda_packages() -> list[Finding]:
    from humar_edge.runtime.device import provider_problems

    problems = provider_problems()
    works = [name for name, problem in problems.items() if not problem]
    findings = []
    for name, problem in problems.items():
        state = MISSING if problem else OK
        advice = f"not needed: {works[0]} works" if problem and works else problem
        findings.append(Finding(name, state, "" if problem else "works", advice))
    return findings


def _plugin() -> list[Finding]:
    from humar_edge.runtime.tensorrt.plugin import HOW_TO_BUILD, find_plugin

    try:
        path = find_plugin()
    except HumarError as error:
        return [Finding("plugin", MISSING, "", str(error))]
    if path is None:
        advice = f"only needed for bundles exported with --deform-attn plugin; {HOW_TO_BUILD}"
        return [Finding("plugin", MISSING, "", advice)]
    return [Finding("plugin", OK, str(path))]


def _cpu_backends() -> list[Finding]:
    return [
        _package("OpenVINO", "openvino", (2024, 4), "run: pip install -U openvino"),
        _package("onnxruntime", "onnxruntime", (1, 18), "optional; run: pip install -U 'humar-edge[onnxruntime]'"),
    ]


def _opencv() -> list[Finding]:
    parts = opencv_parts()
    if parts is None:
        return [Finding("OpenCV", MISSING, "", "run: pip install opencv-python")]
    advice = {
        "GStreamer": "csi:// needs it; use JetPack's OpenCV or build OpenCV with GStreamer",
        "FFmpeg": "videos and rtsp:// need it; run: pip install opencv-python",
        "GUI": "windows need it; use --headless or `humar-edge serve`, or pip install opencv-python",
    }
    findings = [Finding("OpenCV", OK, parts["version"])]
    for part, text in advice.items():
        there = parts[part]
        findings.append(Finding(f"OpenCV {part}", OK if there else MISSING, there, "" if there else text))
    return findings


def _machine() -> list[Finding]:
    from humar_edge.runtime.tensorrt.cache import cache_root

    found = cameras()
    advice = "" if found else "connect one, or use a file or rtsp:// address; in a container pass --device /dev/video0"
    findings = [Finding("cameras", OK if found else MISSING, ", ".join(found), advice)]
    free, total = memory()
    if total:
        text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
        low = free < LEAST_MEMORY
        advice = "close other programs; add swap before the first engine build" if low else ""
        findings.append(Finding("memory", LOW if low else OK, text, advice))
    free = disk(cache_root())
    low = free < LEAST_DISK
    advice = "free some, or set HUMAR_EDGE_CACHE to another disk" if low else ""
    findings.append(Finding("disk", LOW if low else OK, f"{free / GIB:.1f} GiB free for {cache_root()}", advice))
    board = jetson()
    if board is not None:
        best = board["mode"].upper().startswith("MAXN")
        advice = "" if best else "for full speed: sudo nvpmodel -m 0 && sudo jetson_clocks"
        findings.append(Finding("power mode", OK, f"{board['mode']} ({board['release']})", advice))
    return findings


def _bundle() -> list[Finding]:
    from humar_edge.bundle import Bundle, default_bundle_path

    try:
        path = default_bundle_path()
        bundle = Bundle.load(path)
    except HumarError as error:
        return [Finding("bundle", MISSING, "", str(error))]
    return [Finding("bundle", OK, f"{bundle.manifest.name} in {path}")]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    _python,
    _gpu,
    _tensorrt,
    _cuda_packages,
    _plugin,
    _cpu_backends,
    _opencv,
    _machine,
    _bundle,
)
"""What is looked at, in the order of the report."""


def examine() -> list[Finding]:
    """Look at everything."""
    return [finding for check in CHECKS for finding in check()]


def can_run(findings: list[Finding]) -> bool:
    """Whether any backend can run a bundle."""
    fine = {finding.subject for finding in findings if finding.state == OK}
    return any(name in fine and (name != "TensorRT" or "GPU" in fine) for name in RUNNERS)


def as_dict(findings: list[Finding]) -> dict[str, object]:
    """For `--json`."""
    return {"schema_version": 1, "can_run": can_run(findings), "findings": [asdict(finding) for finding in findings]}
