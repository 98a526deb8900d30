"""What is going on behind the page: one source, one pipeline, the prompts, and the newest result."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from humar_edge.demos.web.playback import Slideshow, open_playback
from humar_edge.demos.web.stream import Hub, Shown
from humar_edge.errors import ConfigError, HumarError, PromptError
from humar_edge.prompts import PositionalPrompt, Prompt, clean_text, point_prompt
from humar_edge.results import Person
from humar_edge.runtime.pipeline import Pipeline, Result
from humar_edge.runtime.predictor import STAGES, Predictor
from humar_edge.runtime.sources import Source
from humar_edge.runtime.tracking import follow_points

MAX_PROMPTS = 6
MAX_TEXT = 300
SAMPLES = 240
"""Frames that the latency graph goes back."""

FALLBACK_TEXT = "the person"
CLICKED = "clicked person"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Something the page can show: `kind` is "start", "demo" or "upload", `spec` is for `open_playback`."""

    id: str
    label: str
    spec: str
    kind: str


@dataclass(frozen=True)
class Entry:
    """A prompt with the number by which the page calls it."""

    id: int
    prompt: Prompt

    @property
    def positional(self) -> bool:
        """Whether it came from a click."""
        return isinstance(self.prompt, PositionalPrompt)


class Session:
    """Plays a source through a pipeline in a thread of its own. All methods may be called from any thread.

    Args:
        predictor: What finds people; the caller closes it.
        choices: What can be shown; the first one is shown first.
        texts: The first prompts.
        hub: Where annotated pictures go.

    Raises:
        SourceError: The first source cannot be opened.
        PromptError: A prompt is empty, too long, or there are too many.
    """

    def __init__(self, predictor: Predictor, choices: Sequence[Choice], texts: Sequence[str], hub: Hub) -> None:
        self._predictor, self._hub = predictor, hub
        self._choices = {choice.id: choice for choice in choices}
        self._choice = choices[0]
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._numbers = itertools.count(1)
        self._entries: list[Entry] = []
        self._selected: int | None = None
        self._pipeline: Pipeline | None = None
        self._source: Source | None = None
        self._generation = 0
        self._stopping = False
        self._problem: str | None = None
        self._published = itertools.count(1)
        self._samples: deque[list[float]] = deque(maxlen=SAMPLES)
        self._arrivals: deque[float] = deque(maxlen=30)
        for text in texts or [FALLBACK_TEXT]:
            self.add_text(text)
        self._source = open_playback(self._choice.spec)
        self._thread = threading.Thread(target=self._work, name="humar-web", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def close(self) -> None:
        """Stop and wait for the thread."""
        with self._changed:
            self._stopping = True
            self._interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    # Prompts

    def add_text(self, text: str, *, alone: bool = False) -> int:
        """Look for somebody from the next frame on; returns the number of the prompt.

        Args:
            text: Words.
            alone: Stop looking for everybody else.

        Raises:
            PromptError: Empty, too long, or too many prompts.
        """
        if len(clean_text(text)) > MAX_TEXT:
            raise PromptError(f"the prompt is longer than {MAX_TEXT} characters")
        prompt = self._predictor.encode(text)
        if prompt.text == CLICKED:
            raise PromptError(f"'{CLICKED}' is the name of a click; use other words")
        with self._changed:
            entry = next((entry for entry in self._entries if entry.prompt.text == prompt.text), None)
            kept = [] if alone else [old for old in self._entries if old is not entry]
            self._check_count(kept)
            if entry is None:
                entry = Entry(next(self._numbers), prompt)
                kept = [*kept, entry]
            elif alone:
                kept = [entry]
            else:
                kept = self._entries
            self._adopt(kept)
            return entry.id

    def remove_prompt(self, number: int) -> None:
        """Stop looking for somebody.

        Raises:
            KeyError: There is no such prompt.
            PromptError: It is the last one.
        """
        with self._changed:
            kept = [entry for entry in self._entries if entry.id != number]
            if len(kept) == len(self._entries):
                raise KeyError(number)
            if not kept:
                raise PromptError("this is the only prompt; type another one instead")
            self._adopt(kept)

    def select_prompt(self, number: int | None) -> None:
        """Draw only the person of this prompt; None: everybody.

        Raises:
            KeyError: There is no such prompt.
        """
        with self._changed:
            if number is not None and all(entry.id != number for entry in self._entries):
                raise KeyError(number)
            self._selected = number
            self._refresh()

    def select_point(self, x: float, y: float) -> int:
        """Select the person at a place of the picture, x and y in [0, 1]; returns the number of their prompt.

        With a positional engine the click becomes a prompt of its own, which then follows the person. Without one,
        a person who is already found there is selected.

        Raises:
            PromptError: There is nobody, or no picture yet.
        """
        shown = self._hub.latest
        if shown is None:
            raise PromptError("there is no picture yet")
        width, height = shown.frame.size
        place = (x * width, y * height)
        with self._changed:
            if self.positional:
                entry = Entry(next(self._numbers), replace(point_prompt([place]), text=CLICKED))
                kept = [old for old in self._entries if not old.positional]
                self._check_count(kept)
                self._adopt([*kept, entry], follow=False)
                self._selected = entry.id
                return entry.id
            found = _person_at(shown.persons, place)
            entries = {entry.prompt.text: entry for entry in self._entries}
            if found is None or found.text not in entries:
                raise PromptError(
                    "nobody is found here; this model has no engine for clicks (export it with --prompts text,point), "
                    "so only people found by words can be selected"
                )
            self.select_prompt(entries[found.text].id)
            return entries[found.text].id

    @property
    def positional(self) -> bool:
        """Whether a click can find anybody, not only those already found."""
        return self._predictor.bundle.positional_engine is not None

    # Sources

    def add_choice(self, choice: Choice) -> None:
        """Offer another source."""
        with self._changed:
            self._choices[choice.id] = choice

    def remove_choice(self, identity: str) -> Choice:
        """Withdraw an upload; when it is being shown, the first source is shown instead.

        Raises:
            KeyError: There is no such source.
            ConfigError: It is not an upload.
        """
        with self._changed:
            choice = self._choices[identity]
            if choice.kind != "upload":
                raise ConfigError("only uploads can be removed")
            if choice is self._choice:
                self.show(next(iter(self._choices)))
            return self._choices.pop(identity)

    def show(self, identity: str) -> None:
        """Switch to a source, or start the present one again. Clicks of the old one are forgotten.

        Raises:
            KeyError: There is no such source.
        """
        with self._changed:
            self._choice = self._choices[identity]
            self._forget_clicks()
            self._interrupt()

    # State

    def records(self, *, masks: bool = False) -> list[dict[str, Any]]:
        """The newest results as JSON lines, see `Person.to_record`; empty before the first frame."""
        shown = self._hub.latest
        if shown is None:
            return []
        place: dict[str, Any] = {"source": shown.source, "frame": shown.frame.index, "time_s": shown.frame.time_s}
        return [person.to_record(**place, mask=masks) for person in shown.persons]

    def state(self, since: int = 0) -> dict[str, Any]:
        """Everything the page shows, as plain data.

        Args:
            since: Number of the last latency sample that the page has.
        """
        shown = self._hub.latest
        with self._changed:
            persons = {person.text: person for person in shown.persons} if shown else {}
            prompts = [_prompt_state(entry, persons.get(entry.prompt.text)) for entry in self._entries]
            choices = [{"id": c.id, "label": c.label, "kind": c.kind} for c in self._choices.values()]
            statistics = self._pipeline.statistics if self._pipeline is not None else None
            state: dict[str, Any] = {
                "prompts": prompts,
                "selected": self._selected,
                "sources": choices,
                "source": self._choice.id,
                "problem": self._problem,
                "samples": [sample for sample in self._samples if sample[0] > since],
                "fps": round(self._fps(), 1),
                "frames": statistics.frames if statistics else 0,
                "dropped": statistics.dropped if statistics else 0,
                "viewers": self._hub.viewers,
            }
        if shown is not None:
            width, height = shown.frame.size
            state["frame"] = {"width": width, "height": height, "time_s": round(shown.frame.time_s, 2)}
        return state

    # Inside; those that say so expect the lock to be held

    def _check_count(self, kept: Sequence[Entry]) -> None:
        if len(kept) >= MAX_PROMPTS:
            raise PromptError(f"at most {MAX_PROMPTS} people at a time; remove one first")

    def _adopt(self, entries: list[Entry], *, follow: bool = True) -> None:
        """With the lock: use these prompts from the next frame on."""
        shown = self._hub.latest
        if follow and shown is not None:
            # A click may be long ago: go on where that person is now.
            persons = {person.text: person for person in shown.persons}
            entries = [_followed(entry, persons.get(entry.prompt.text)) for entry in entries]
        self._entries = entries
        if all(entry.id != self._selected for entry in entries):
            self._selected = None
        if self._pipeline is not None:
            self._pipeline.set_prompts([entry.prompt for entry in entries])
        self._refresh()

    def _forget_clicks(self) -> None:
        """With the lock."""
        kept = [entry for entry in self._entries if not entry.positional]
        self._adopt(kept or [Entry(next(self._numbers), self._predictor.encode(FALLBACK_TEXT))])

    def _refresh(self) -> None:
        """With the lock: pictures that stand still are done once more."""
        if isinstance(self._source, Slideshow):
            self._source.refresh()

    def _interrupt(self) -> None:
        """With the lock: end what is being played."""
        self._generation += 1
        self._problem = None
        if self._source is not None:
            self._source.close()
        self._changed.notify_all()

    def _fps(self) -> float:
        if len(self._arrivals) < 2:
            return 0.0
        seconds = max(self._arrivals[-1], time.perf_counter() - 1.0) - self._arrivals[0]
        return (len(self._arrivals) - 1) / max(seconds, 1e-3)

    def _work(self) -> None:
        while not self._stopping:
            generation = self._generation
            problem = self._play(generation)
            with self._changed:
                if generation == self._generation:
                    self._problem = problem
                    self._source = None
                    self._changed.wait_for(lambda: self._generation != generation)

    def _play(self, generation: int) -> str | None:
        """Play until the source changes; returns why it ended otherwise, for people to read."""
        try:
            for result in self._results(generation):
                if generation != self._generation:
                    break
                self._publish(result)
        except PromptError as error:
            with self._changed:
                if not any(entry.positional for entry in self._entries):
                    return str(error)
                # The next picture is smaller than the place that was clicked in the last one.
                self._forget_clicks()
                self._interrupt()
        except HumarError as error:
            return str(error)
        except Exception:
            _log.exception("the pipeline failed")
            return "something went wrong; the terminal of the server says more"
        return "the source has ended"

    def _results(self, generation: int) -> Iterator[Result]:
        with self._changed:
            # The first source was opened before the thread began.
            source, self._source = (self._source if generation == 0 else None), None
            choice = self._choice
        source = source or open_playback(choice.spec)
        try:
            with self._changed:
                if generation != self._generation:
                    return
                self._source = source
                self._pipeline = Pipeline(source, self._predictor, [entry.prompt for entry in self._entries])
                self._arrivals.clear()
            with closing(iter(self._pipeline)) as results:
                yield from results
        finally:
            source.close()

    def _publish(self, result: Result) -> None:
        now, number = time.perf_counter(), next(self._published)
        persons = result.persons
        times = {stage: sum(person.timings.get(stage, 0.0) for person in persons) for stage in STAGES}
        # All prompts share one preprocessing.
        times["preprocess"] = persons[0].timings.get("preprocess", 0.0)
        with self._changed:
            names = {entry.id: entry.prompt.text for entry in self._entries}
            self._arrivals.append(now)
            age = (now - result.frame.captured) * 1000
            values = [*(times[stage] for stage in STAGES), age, self._fps()]
            self._samples.append([number, *(round(value, 2) for value in values)])
            selected = names.get(self._selected) if self._selected is not None else None
            source = self._choice.label
        drawn = [person if selected in (None, person.text) else None for person in persons]
        self._hub.publish(Shown(number, source, result.frame, persons, drawn))


def _followed(entry: Entry, person: Person | None) -> Entry:
    if person is None or not isinstance(entry.prompt, PositionalPrompt):
        return entry
    return replace(entry, prompt=follow_points(entry.prompt, person))


def _person_at(persons: Sequence[Person], place: tuple[float, float]) -> Person | None:
    """The person found with the smallest box around a place in source pixels."""

    def area(person: Person) -> float:
        left, top, right, bottom = person.box_xyxy
        return float((right - left) * (bottom - top))

    corners = ((person, person.box_xyxy.reshape(2, 2)) for person in persons if person.found)
    around = [person for person, (low, high) in corners if np.all(low <= place) and np.all(place <= high)]
    return min(around, key=area, default=None)


def _prompt_state(entry: Entry, person: Person | None) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": "click" if entry.positional else "text",
        "text": entry.prompt.text,
        "truncated": getattr(entry.prompt, "truncated", False),
        "found": person.found if person else None,
        "score": round(person.score, 3) if person else None,
    }
