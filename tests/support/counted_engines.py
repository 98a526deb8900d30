"""Engines that tell when they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from humar_edge.runtime.runners import Runner, open_runner


def counting_opener() -> tuple[Callable[[Path, str, int | None], Runner], list[str]]:
    """An opener for `Predictor`, and the names of its engines in the order in which they ran."""
    runs: list[str] = []

    def opener(path: Path, backend: str, threads: int | None) -> Runner:
        runner = open_runner(path, backend, threads)
        infer = runner.infer
        runner.infer = lambda inputs: runs.append(path.stem) or infer(inputs)  # type: ignore[method-assign]
        return runner

    return opener, runs
