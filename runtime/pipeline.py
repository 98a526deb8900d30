"""Frames in, people out, with capture, preprocessing, inference and output overlapping.

    capture -> preprocess -> inference, decoding, tracking -> whoever iterates (the sinks)

Every arrow is a bounded queue, so a slow stage slows the others instead of filling memory, and order is kept. Sources
that must not lag (live) and the region of interest, where a frame depends on the result of the one before,
have one frame under way at a time: the next one is taken when the result of the last is out,
so a live result is never older than the time of its own processing plus one frame interval.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from humar_edge.errors import PromptError
from humar_edge.prompts import PositionalPrompt, Prompt
from humar_edge.results import Person
from humar_edge.runtime.channel import Cancelled, Channel
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.preprocess import Prepared
from humar_edge.runtime.sources.base import Frame, Source
from humar_edge.runtime.statistics import RunStatistics
from humar_edge.runtime.tracking import PersonTracker, Region, RegionOfInterest, follow_points

QUEUE_SIZE = 2

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, eq=False)
class Result:
    """A frame and, for every prompt in order, its person."""

    frame: Frame
    persons: list[Person]


@dataclass(frozen=True, eq=False)
class _Job:
    frame: Frame
    prepared: Prepared
    region: Region | None
    preprocess_ms: float


class Pipeline:
    """An iterable of results; iterate it once. Leaving the iteration in any way ends all threads and the source.

    Args:
        source: Where frames come from; closed at the end.
        predictor: What finds people.
        prompts: At least one.
        smooth: Smooth keypoints and boxes; None: except when the source is a set of pictures.
        region_of_interest: Look only at the surroundings of people who are found with confidence.

    Attributes:
        statistics: Counts and latencies so far.

    Example:
        >>> for result in Pipeline(source, predictor, [predictor.encode("the man in red")]):  # doctest: +SKIP
        ...     print(result.frame.index, [person.found for person in result.persons])
    """

    def __init__(
        self,
        source: Source,
        predictor: Predictor,
        prompts: Sequence[Prompt],
        *,
        smooth: bool | None = None,
        region_of_interest: bool = False,
    ) -> None:
        self._source, self._predictor = source, predictor
        self._smooth = not source.still if smooth is None else smooth
        self._region = RegionOfInterest() if region_of_interest and not source.still else None
        self.statistics = RunStatistics()
        self._lock = threading.Lock()
        self._generation = 0
        self.set_prompts(prompts)
        self._tracked_generation = -1
        self._trackers: list[PersonTracker] = []
        self._active: list[Prompt] = []
        single = source.live or self._region is not None
        self._permits = threading.Semaphore(1) if single else None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._channels: list[Channel[Any]] = []

    def set_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Replace the prompts, from any thread; takes effect on the next frame that reaches inference."""
        if not prompts:
            raise PromptError("no prompt; say whom to look for")
        with self._lock:
            self._prompts, self._generation = list(prompts), self._generation + 1

    def __iter__(self) -> Generator[Result, None, None]:
        size = 1 if self._source.live else QUEUE_SIZE
        captured, prepared, results = Channel[Frame](size), Channel[_Job](size), Channel[Result](size)
        self._channels = [captured, prepared, results]
        self.statistics.start()
        self._spawn("capture", self._frames(), lambda frame: frame, captured)
        self._spawn("preprocess", captured, self._prepare, prepared)
        self._spawn("infer", prepared, self._infer, results)
        try:
            for result in results:
                self._count_losses()
                self.statistics.add(result.frame, result.persons)
                yield result
        finally:
            self._end()

    def _spawn(self, name: str, items: Iterable[In], work: Callable[[In], Out], out: Channel[Out]) -> None:
        def run() -> None:
            try:
                for item in items:
                    out.put(work(item))
                    if name == "infer" and self._permits is not None:
                        self._permits.release()
                out.finish()
            except Cancelled:
                pass
            except BaseException as error:  # whatever it is, it is raised again where the results are read
                out.finish(error)

        thread = threading.Thread(target=run, name=f"humar-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _frames(self) -> Iterator[Frame]:
        frames = iter(self._source)
        while True:
            if self._permits is not None:
                self._permits.acquire()
            if self._stopping.is_set():
                return
            try:
                frame = next(frames)
            except StopIteration:
                return
            yield frame

    def _prepare(self, frame: Frame) -> _Job:
        height, width = frame.image.shape[:2]
        region = self._region.next_region((height, width)) if self._region is not None else None
        started = time.perf_counter()
        prepared = self._predictor.preprocess(frame.image if region is None else region.crop(frame.image))
        return _Job(frame, prepared, region, (time.perf_counter() - started) * 1000)

    def _infer(self, job: _Job) -> Result:
        self._adopt_prompts()
        persons = self._find(job)
        if not self._source.still:
            persons = [t.update(p, job.frame.time_s) for t, p in zip(self._trackers, persons, strict=True)]
            self._active = [
                follow_points(prompt, person) if isinstance(prompt, PositionalPrompt) else prompt
                for prompt, person in zip(self._active, persons, strict=True)
            ]
        if self._region is not None:
            self._region.update(persons, job.region)
        return Result(job.frame, persons)

    def _adopt_prompts(self) -> None:
        with self._lock:
            if self._generation == self._tracked_generation:
                return
            self._tracked_generation, self._active = self._generation, list(self._prompts)
        self._trackers = [PersonTracker(self._predictor.threshold, smooth=self._smooth) for _ in self._active]
        if self._region is not None:
            self._region.reset()

    def _find(self, job: _Job) -> list[Person]:
        """Everybody who is looked for; the first text prompt's time holds the features that the others share."""
        if job.region is None:
            return list(self._predictor.find(job.prepared, self._active, job.preprocess_ms))
        prompts = [_inside(job.region, prompt) for prompt in self._active]
        height, width = job.frame.image.shape[:2]
        found = self._predictor.find(job.prepared, prompts, job.preprocess_ms)
        return [job.region.to_frame(person, (height, width)) for person in found]

    def _count_losses(self) -> None:
        self.statistics.dropped, self.statistics.reconnects = self._source.dropped, self._source.reconnects

    def _end(self) -> None:
        self._stopping.set()
        if self._permits is not None:
            self._permits.release()
        for channel in self._channels:
            channel.cancel()
        self._source.close()
        self._count_losses()
        for thread in self._threads:
            thread.join(timeout=5.0)


def _inside(region: Region, prompt: Prompt) -> Prompt:
    """The prompt for the crop of a region."""
    if isinstance(prompt, PositionalPrompt):
        return replace(prompt, points=prompt.points - [region.left, region.top])
    return prompt
