"""Showing a build to the person who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Watcher(Protocol):
    """Gets the events of a build and messages about the cache."""

    def event(self, event: dict[str, Any]) -> None:
        """One event of the build process, see `build_worker`."""

    def message(self, text: str) -> None:
        """One line for people."""


class Silent:
    """Watches nothing."""

    def event(self, event: dict[str, Any]) -> None:
        """See `Watcher`."""

    def message(self, text: str) -> None:
        """See `Watcher`."""


class RichWatcher:
    """Messages and one bar per running phase on stderr; only the messages when stderr is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def message(self, text: str) -> None:
        """See `Watcher`."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def event(self, event: dict[str, Any]) -> None:
        """See `Watcher`."""
        if self._progress is None:
            return
        phase = str(event.get("phase", ""))
        if event["event"] == "start":
            depth = "  " if event["parent"] else ""
            self._tasks[phase] = self._progress.add_task(f"{depth}{phase}", total=max(int(event["steps"]), 1))
        elif event["event"] == "step" and phase in self._tasks:
            self._progress.update(self._tasks[phase], completed=int(event["step"]) + 1)
        elif event["event"] == "finish" and phase in self._tasks:
            self._progress.remove_task(self._tasks.pop(phase))

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Bars are drawn inside."""
        if not self.console.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None
                self._tasks.clear()
