"""TensorRT's messages: remembered for error reports, the serious ones passed on to Python's logging."""

from __future__ import annotations

import logging
from collections import deque

import tensorrt as trt

LEVELS = {
    trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
    trt.ILogger.Severity.ERROR: logging.ERROR,
    trt.ILogger.Severity.WARNING: logging.WARNING,
    trt.ILogger.Severity.INFO: logging.DEBUG,
    trt.ILogger.Severity.VERBOSE: logging.NOTSET,
}
"""TensorRT severity -> Python level; INFO is chatty and verbose is never kept."""

LOG = logging.getLogger("humar_edge.tensorrt")


class MessageLog(trt.ILogger):
    """A logger that keeps the last messages, so that an error can say what TensorRT said."""

    def __init__(self, keep: int = 100) -> None:
        trt.ILogger.__init__(self)
        self.errors: deque[str] = deque(maxlen=keep)
        self.warnings: deque[str] = deque(maxlen=keep)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any thread."""
        level = LEVELS.get(severity, logging.ERROR)
        if level >= logging.ERROR:
            self.errors.append(msg)
        elif level == logging.WARNING:
            self.warnings.append(msg)
        if level > logging.NOTSET:
            # Errors are raised with their text by whoever called TensorRT: printing them too would say it twice.
            LOG.log(min(level, logging.DEBUG), msg)

    def take_errors(self) -> str:
        """The errors since the last call in one line, empty when there were none."""
        text = "; ".join(" ".join(message.split()) for message in self.errors)
        self.errors.clear()
        return text
