"""Compiles one ONNX file with TensorRT-RTX; run as `python rtx_worker.py MODEL TARGETS`, prints one line of JSON.

A process of its own: a graph that the parser cannot stand may abort the process, and memory is given back at the end.
It imports nothing of this package, so that it also runs in an environment that holds only TensorRT-RTX.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(path: str, targets: list[str]) -> dict[str, Any]:
    """Parse and build for compute capabilities such as SM86; returns what happened."""
    import tensorrt_rtx as trt

    messages: list[str] = []

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.append(message)

    builder = trt.Builder(Log())
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    result: dict[str, Any] = {"version": trt.__version__, "targets": targets, "ok": False}
    with open(path, "rb") as file:
        if not parser.parse(file.read()):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            found = [f"{error.node_name() or 'graph'} ({error.node_operator()}): {error.desc()}" for error in errors]
            return {**result, "stage": "parse", "errors": found}
    result["layers"] = network.num_layers
    result["built"] = {target: _build(trt, builder, network, target, messages) for target in targets}
    result["ok"] = all(built["ok"] for built in result["built"].values())
    return result


def _build(trt: Any, builder: Any, network: Any, target: str, messages: list[str]) -> dict[str, Any]:
    messages.clear()
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = round(time.perf_counter() - start, 2)
    if plan is None:
        # Without a driver every run logs a CUDA error that has nothing to do with the graph.
        errors = [message for message in messages if "cudaError 35" not in message]
        return {"ok": False, "seconds": seconds, "errors": errors or ["the builder gave no plan"]}
    return {"ok": True, "seconds": seconds, "plan_bytes": plan.nbytes}


if __name__ == "__main__":
    # The parser may print to stdout as well: the result is the last line.
    print("\n" + json.dumps(main(sys.argv[1], sys.argv[2].split(","))))
