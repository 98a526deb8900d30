"""Errors that a user can act on: the command line prints them in one line and exits with code 2."""

from __future__ import annotations


class HumarError(Exception):
    """Base of all errors caused by input or environment rather than by a defect of the program.

    The message is one line that says what is wrong and, where possible, what to do.
    """


class ConfigError(HumarError):
    """An unknown name or an impossible combination of options."""


class SourceError(HumarError):
    """A picture, video, camera or stream that cannot be read."""


class SinkError(HumarError):
    """An output that cannot be written."""


class BundleError(HumarError):
    """A bundle that is missing, damaged or of another version."""


class BackendError(HumarError):
    """An inference backend that is not installed or cannot run the engine."""


class PromptError(HumarError):
    """A prompt that cannot be used."""


class DataError(HumarError):
    """A data set that is missing, empty or not in RefHuman format."""


class CheckpointError(HumarError):
    """A checkpoint that does not fit the network or cannot be read safely."""


class ExportError(HumarError):
    """An export that failed or did not agree with the PyTorch model."""


class MissingExtraError(HumarError):
    """A feature that needs an optional dependency."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed; run: pip install 'humar-edge[{extra}]'")
