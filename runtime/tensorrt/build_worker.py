"""The process that builds one engine: a request (JSON) on stdin, events (JSON lines) on stdout.

A process of its own, because a build may take all memory and be killed, and a plugin may crash it: neither may end the
caller. Run as `python -m humar_edge.runtime.tensorrt.build_worker`.

Events: {"event": "start", "phase", "parent", "steps"}, {"event": "step", "phase", "step"}, {"event": "finish",
"phase"}, {"event": "warning", "text"}, and one last {"event": "done", "engine_bytes", "seconds", "peak_rss"} or
{"event": "failed", "reason"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import tensorrt as trt

from humar_edge.errors import BackendError, HumarError
from humar_edge.runtime.tensorrt.logger import MessageLog
from humar_edge.runtime.tensorrt.plugin import load_plugin

OPTION_FLAGS = {
    "version_compatible": trt.BuilderFlag.VERSION_COMPATIBLE,
    "tf32": trt.BuilderFlag.TF32,
}
"""Boolean option -> builder flag that it sets or clears."""


class Reporter(trt.IProgressMonitor):
    """Writes events; a reader that has gone away cancels the build."""

    def __init__(self, stream: TextIO) -> None:
        trt.IProgressMonitor.__init__(self)
        self._stream = stream
        self._reader_left = False

    def emit(self, event: str, **fields: object) -> None:
        """Write one event."""
        try:
            self._stream.write(json.dumps({"event": event, **fields}) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self._reader_left = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT."""
        self.emit("start", phase=phase_name, parent=parent_phase, steps=num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Called by TensorRT; False cancels the build."""
        self.emit("step", phase=phase_name, step=step)
        return not self._reader_left

    def phase_finish(self, phase_name: str) -> None:
        """Called by TensorRT."""
        self.emit("finish", phase=phase_name)


def build(request: dict[str, Any], reporter: Reporter) -> None:
    """Parse, build, and write the engine (and the timing cache) to the paths of the request."""
    log = MessageLog()
    if request["plugin"]:
        load_plugin(Path(request["plugin"]))
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(network, request["onnx"], log)
    config = builder.create_builder_config()
    config.progress_monitor = reporter
    _configure(config, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(log.take_errors() or "TensorRT gave no reason")
    Path(request["engine"]).write_bytes(bytes(plan))
    _save_timings(config, request["timing_out"])
    for text in list(log.warnings)[-10:]:
        reporter.emit("warning", text=text)


def _parse(network: trt.INetworkDefinition, onnx: str, log: MessageLog) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(onnx):
        return
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = f"node '{error.node_name()}' ({error.node_operator()}): " if error.node_operator() else ""
        reasons.append(f"{node}{' '.join(error.desc().split())}")
    raise BackendError(f"TensorRT {trt.__version__} cannot parse the ONNX file: " + "; ".join(reasons))


def _configure(config: trt.IBuilderConfig, request: dict[str, Any]) -> None:
    options = request["options"]
    config.builder_optimization_level = options["optimization_level"]
    if request["workspace_bytes"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_bytes"])
    for name, flag in OPTION_FLAGS.items():
        (config.set_flag if options[name] else config.clear_flag)(flag)
    if options["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if request["plugin"] and options["version_compatible"]:
        config.plugins_to_serialize = [request["plugin"]]
    if options["timing_cache"]:
        known = request["timing_in"]
        timings = config.create_timing_cache(Path(known).read_bytes() if known else b"")
        if timings is not None:
            config.set_timing_cache(timings, False)


def _save_timings(config: trt.IBuilderConfig, path: str | None) -> None:
    timings = config.get_timing_cache()
    if path and timings is not None:
        Path(path).write_bytes(bytes(timings.serialize()))


def _peak_rss() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Serve one request; 0 when the engine was built, else 1."""
    # Whatever a library prints on stdout must not mix with the events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    reporter = Reporter(events)
    started = time.monotonic()
    try:
        build(request, reporter)
    except (HumarError, OSError, RuntimeError, TypeError, MemoryError) as error:
        reporter.emit("failed", reason=str(error) or type(error).__name__)
        return 1
    size = Path(request["engine"]).stat().st_size
    seconds = round(time.monotonic() - started, 2)
    reporter.emit("done", engine_bytes=size, seconds=seconds, peak_rss=_peak_rss())
    return 0


if __name__ == "__main__":
    sys.exit(main())
