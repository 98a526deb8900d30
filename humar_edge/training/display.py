"""What a run shows and records: a progress bar or lines, `log.jsonl`, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_EVERY = 20
SMOOTHING = 0.97


class Display:
    """Shows progress and writes the logs; only the first process has one.

    Args:
        output: Folder of the run.
        console: Where to print.
        tensorboard: Whether to write `output/tensorboard`.
    """

    def __init__(self, output: Path, console: Console, *, tensorboard: bool = True) -> None:
        self.console = console
        self.log = output / "log.jsonl"
        self.writer: Any = _writer(output / "tensorboard", console) if tensorboard else None
        self.smooth: dict[str, float] = {}
        self.began: tuple[float, float] | None = None
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %"))
            self.bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=console)
            self.task = self.bar.add_task("training", total=1.0, left="")

    def __enter__(self) -> Display:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def record(self, record: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def print(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, highlight=False)

    def left(self, progress: float) -> str:
        """Time to the end, from the speed of this process's steps."""
        now = time.monotonic()
        if self.began is None:
            self.began = (now, progress)
        since, first = self.began
        if progress <= first:
            return "left ?"
        minutes = (now - since) * (1 - progress) / (progress - first) / 60
        return f"left {minutes:.0f} min" if minutes < 120 else f"left {minutes / 60:.1f} h"

    def step(self, step: int, progress: float, elapsed: float, parts: Mapping[str, float]) -> None:
        """After each step: `parts` holds the loss, its parts, and `data_wait`, the share of time spent on data."""
        for name, value in parts.items():
            self.smooth[name] = self.smooth.get(name, value) * SMOOTHING + value * (1 - SMOOTHING)
        left = self.left(progress)
        if self.bar is not None:
            share = f"{left}  step {step}  loss {self.smooth['loss']:.3f}  data {self.smooth['data_wait']:.0%}"
            self.bar.update(self.task, completed=min(progress, 1.0), left=share)
        if step % LINE_EVERY:
            return
        self.record({"step": step, "elapsed": round(elapsed, 1), **self.smooth})
        self.scalars("train", self.smooth, step)
        shown = " ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
        self.print(f"step {step} {progress:.1%} {left}  {shown}")

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves for TensorBoard."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)


def _writer(folder: Path, console: Console) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        console.print("no TensorBoard logs: pip install tensorboard, or --no-tensorboard to say nothing about it")
        return None
    return SummaryWriter(str(folder))
