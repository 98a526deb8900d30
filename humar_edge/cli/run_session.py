"""One run from the first frame to the closing report."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from humar_edge.errors import HumarError, SinkError
from humar_edge.prompts import Prompt
from humar_edge.results import Person
from humar_edge.runtime.pipeline import Pipeline
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.sinks import CocoSink, CsvSink, JsonlSink, Sink, Sinks, StopRequested, open_sink
from humar_edge.runtime.sinks.window import display_problem
from humar_edge.runtime.sources import Source

RECORDS: dict[str, Callable[..., Sink]] = {"jsonl": JsonlSink, "csv": CsvSink, "coco": CocoSink}
"""Option -> sink; these options name the format, so any file name will do."""


@contextmanager
def open_sinks(
    source: Source, outputs: Sequence[str], records: Mapping[str, str | None], *, show: bool | None, masks: bool
) -> Iterator[Sinks]:
    """Open all outputs; when one cannot be opened, the others are closed again.

    Args:
        source: Where the frames come from.
        outputs: Words for `open_sink`.
        records: File by key of `RECORDS`.
        show: Also a window; None: for live sources without another output, where there is a display.
        masks: Put masks into the JSON lines.

    Raises:
        SinkError: An output cannot be opened, or two go to one place.
    """
    asked = [*outputs, *filter(None, records.values())]
    places = [os.path.realpath(word) for word in asked]
    twice = next((word for word, place in zip(asked, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise SinkError(f"{twice}: two outputs would go there; give each a name of its own")
    if show is None:
        show = source.live and not asked and display_problem() is None
    with ExitStack() as opened:
        sinks: list[Sink] = [opened.enter_context(open_sink(word, source)) for word in outputs]
        for kind, path in records.items():
            if path:
                options = {"masks": masks} if kind == "jsonl" else {}
                sinks.append(opened.enter_context(RECORDS[kind](path, source, **options)))
        if show:
            sinks.append(opened.enter_context(open_sink("window", source)))
        opened.pop_all()
    with Sinks(sinks) as together:
        yield together


@contextmanager
def warnings_to(console: Console) -> Iterator[None]:
    """Show the package's log warnings as lines on a console, above its progress bar."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(f"{record.levelname.lower()}: {record.getMessage()}", markup=False, soft_wrap=True)

    logger, handler = logging.getLogger("humar_edge"), Lines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """A service manager's SIGTERM finishes files just as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Session:
    """Runs the pipeline into the sinks and tells what came out.

    Args:
        source: Where frames come from.
        predictor: What finds people.
        prompts: Whom to look for.
        sinks: Where results go; the caller closes them.
        smooth: Smooth keypoints; None: the pipeline's default.
        roi: Look closer around people who are found with confidence.
    """

    def __init__(
        self,
        source: Source,
        predictor: Predictor,
        prompts: Sequence[Prompt],
        sinks: Sinks,
        *,
        smooth: bool | None,
        roi: bool,
    ) -> None:
        self._source, self._predictor, self._sinks = source, predictor, sinks
        self._pipeline = Pipeline(source, predictor, prompts, smooth=smooth, region_of_interest=roi)
        self._last: list[Person] = []

    def run(self, console: Console) -> bool:
        """Process all frames, with a progress bar for files; True when the user stopped it with Ctrl-C."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = self._source.live or not console.is_terminal
        try:
            with (
                _terminate_like_interrupt(),
                Progress(*columns, console=console, transient=True, disable=hidden) as progress,
                closing(iter(self._pipeline)) as results,
            ):
                task = progress.add_task("frames", total=self._source.total)
                for result in results:
                    self._sinks.write(result.frame, result.persons)
                    self._last = result.persons
                    progress.advance(task)
        except KeyboardInterrupt:
            console.print("stopped; files are being finished")
            return True
        except StopRequested:
            pass
        except HumarError:
            done = self._pipeline.statistics.frames
            if done:
                console.print(f"stopped by an error after {done} frames; what was written is kept")
            raise
        return False

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {
            "model": self._predictor.bundle.manifest.name,
            "backend": self._predictor.backend,
            "device": self._predictor.device,
            "source": self._source.name,
            **self._pipeline.statistics.to_dict(),
            "outputs": self._sinks.reports(),
        }

    def report(self, console: Console, *, as_json: bool) -> None:
        """Print the summary: to the console, or as one JSON line to standard output."""
        summary = self.to_dict()
        if as_json:
            print(json.dumps(summary, ensure_ascii=False))
            return
        table = Table("milliseconds", "p50", "p90", "p99", box=None, pad_edge=False)
        for stage, values in summary["latency_ms"].items():
            if stage != "delay":
                table.add_row(stage, *(f"{value:.2f}" for value in values.values()))
        if table.row_count:
            console.print(table)
        for line in self._lines(summary):
            console.print(line, markup=False)

    def _lines(self, summary: dict[str, Any]) -> Iterator[str]:
        if summary["frames"] == 1:
            for person in self._last:
                place = ", ".join(f"{value:.0f}" for value in person.box_xyxy)
                where = f"found in box {place}" if person.found else "not found"
                yield f"{person.text}: {where} (score {person.score:.2f})"
        else:
            for text, share in summary["found"].items():
                yield f"{text}: found in {share:.0%} of the frames"
        drops = f", {summary['dropped']} dropped" if self._source.live else ""
        drops += f", connected again {summary['reconnects']} times" if summary["reconnects"] else ""
        delay = summary["latency_ms"].get("delay", {}).get("p50", 0.0)
        age = f", {delay:.0f} ms behind the camera" if self._source.live else ""
        frames = "1 frame" if summary["frames"] == 1 else f"{summary['frames']} frames"
        yield f"{frames} at {summary['fps']:.1f} frames/s from end to end on {summary['backend']}{drops}{age}"
        for line in summary["outputs"]:
            yield f"wrote {line}"
        if not summary["outputs"] and not self._source.live:
            yield "nothing was written; add --output out.mp4 or --jsonl out.jsonl"
