"""Starting the build process, following its events, and saying in words why it failed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from humar_edge.errors import BackendError

WORKER = "humar_edge.runtime.tensorrt.build_worker"

MEMORY = (
    "out of memory; close other programs, lower the workspace limit, choose a smaller input size, or add swap on a "
    "small board"
)

ADVICE: tuple[tuple[str, str], ...] = (
    (r"out ?of ?memory|cudaErrorMemoryAllocation|bad_alloc|MemoryError|insufficient memory", MEMORY),
    (r"could not find any implementation", "no kernel fits; raise the workspace limit or the optimisation level"),
    (
        r"plugin.*not found|getPluginCreator|no importer registered",
        "an operator is unknown here; is its plugin missing?",
    ),
    (r"no space left", "the disk is full; free some or set HUMAR_EDGE_CACHE to another place"),
    (r"cannot parse the ONNX", "export the bundle again, or run `humar-edge check` on it"),
)
"""Pattern in TensorRT's message -> what it means; the first that matches is added to the message."""

STDERR_TAIL = 2000

Event = dict[str, Any]


def explain(reason: str) -> str:
    """The reason with advice where it is a known one."""
    for pattern, advice in ADVICE:
        if re.search(pattern, reason, re.IGNORECASE):
            return f"{reason} ({advice})"
    return reason


def explain_exit(code: int, stderr: str) -> str:
    """Why a process that ended without a last event ended."""
    if code == -signal.SIGKILL or code == 137:
        return f"the build process was killed by the system, most likely {MEMORY}"
    last = " ".join(stderr.strip().splitlines()[-3:])
    if code < 0:
        return explain(f"the build process crashed with {signal.Signals(-code).name}; {last or 'it printed nothing'}")
    return explain(f"the build process ended with exit code {code}; {last or 'it printed nothing'}")


def run_worker(request: dict[str, Any], report: Callable[[Event], None]) -> Event:
    """Build one engine in a process of its own.

    Args:
        request: See `build_worker`.
        report: Gets every event but the last.

    Returns:
        The last event: engine_bytes, seconds, peak_rss.

    Raises:
        BackendError: The build failed, with the reason in words.
    """
    # stderr goes to a file: a full pipe that nobody reads would stop the build.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        with subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
        ) as process:
            try:
                last = _follow(process, request, report)
            except BaseException:
                process.kill()
                raise
        if last.get("event") == "done":
            return last
        if last.get("event") == "failed":
            raise BackendError(f"the engine was not built: {explain(last['reason'])}")
        size = stderr.seek(0, 2)
        stderr.seek(max(0, size - STDERR_TAIL))
        raise BackendError(f"the engine was not built: {explain_exit(process.returncode, stderr.read())}")


def _follow(process: subprocess.Popen[str], request: dict[str, Any], report: Callable[[Event], None]) -> Event:
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once: its exit code says why
    last: Event = {}
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict) or "event" not in event:
            continue  # a library printed something that happens to be JSON
        if event["event"] in ("done", "failed"):
            last = event
        else:
            report(event)
    return last
