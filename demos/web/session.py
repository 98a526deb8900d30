"""What is going on behind the page: one source, one pipeline, and the newest result."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from humar_edge.demos.web.meter import Meter
from humar_edge.demos.web.playback import Slideshow, open_playback
from humar_edge.demos.web.prompt_list import CLICKED, PromptList
from humar_edge.demos.web.stream import Hub, Shown
from humar_edge.errors import ConfigError, HumarError, PromptError
from humar_edge.prompts import clean_text
from humar_edge.results import Person
from humar_edge.runtime.pipeline import Pipeline, Result
from humar_edge.runtime.predictor import Predictor
from humar_edge.runtime.sources import Source

MAX_TEXT = 300
FALLBACK_TEXT = "the person"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Something the page can show: `kind` is "start", "demo" or "upload", `spec` is for `open_playback`."""

    id: str
    label: str
    spec: str
    kind: str


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
        self._prompts = PromptList()
        self._meter = Meter()
        self._pipeline: Pipeline | None = None
        self._source: Source | None = None
        self._generation = 0
        self._stopping = False
        self._problem: str | None = None
        self._published = itertools.count(1)
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
            number = self._prompts.add(prompt, alone=alone)
            self._use_prompts()
            return number

    def remove_prompt(self, number: int) -> None:
        """Stop looking for somebody.

        Raises:
            KeyError: There is no such prompt.
            PromptError: It is the last one.
        """
        with self._changed:
            self._prompts.remove(number)
            self._use_prompts()

    def select_prompt(self, number: int | None) -> None:
        """Draw only the person of this prompt; None: everybody.

        Raises:
            KeyError: There is no such prompt.
        """
        with self._changed:
            self._prompts.select(number)
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
                number = self._prompts.add_click(place)
                self._use_prompts(follow=False)
                return number
            found = _person_at(shown.persons, place)
            known = self._prompts.number_of(found.text) if found is not None else None
            if known is None:
                raise PromptError(
                    "nobody is found here; this model has no engine for clicks (export it with --prompts text,point), "
                    "so only people found by words can be selected"
                )
            self.select_prompt(known)
            return known

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
            choices = [{"id": c.id, "label": c.label, "kind": c.kind} for c in self._choices.values()]
            statistics = self._pipeline.statistics if self._pipeline is not None else None
            state: dict[str, Any] = {
                "prompts": self._prompts.state(shown.persons if shown else ()),
                "selected": self._prompts.selected,
                "sources": choices,
                "source": self._choice.id,
                "problem": self._problem,
                "samples": self._meter.since(since),
                "fps": round(self._meter.fps, 1),
                "frames": statistics.frames if statistics else 0,
                "dropped": statistics.dropped if statistics else 0,
                "viewers": self._hub.viewers,
            }
        if shown is not None:
            width, height = shown.frame.size
            state["frame"] = {"width": width, "height": height, "time_s": round(shown.frame.time_s, 2)}
        return state

    # Inside; those that say so expect the lock to be held

    def _use_prompts(self, *, follow: bool = True) -> None:
        """With the lock: look for the prompts of the list from the next frame on."""
        shown = self._hub.latest
        if follow and shown is not None:
            # A click may be long ago: go on where that person is now.
            self._prompts.follow(shown.persons)
        if self._pipeline is not None:
            self._pipeline.set_prompts(self._prompts.prompts)
        self._refresh()

    def _forget_clicks(self) -> None:
        """With the lock."""
        self._prompts.forget_clicks(lambda: self._predictor.encode(FALLBACK_TEXT))
        self._use_prompts()

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
                if not self._prompts.clicked:
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
                self._pipeline = Pipeline(source, self._predictor, self._prompts.prompts)
                self._meter.restart()
            with closing(iter(self._pipeline)) as results:
                yield from results
        finally:
            source.close()

    def _publish(self, result: Result) -> None:
        number, persons = next(self._published), result.persons
        with self._changed:
            self._meter.record(number, result)
            selected, source = self._prompts.selected_text, self._choice.label
        drawn = [person if selected in (None, person.text) else None for person in persons]
        self._hub.publish(Shown(number, source, result.frame, persons, drawn))


def _person_at(persons: Sequence[Person], place: tuple[float, float]) -> Person | None:
    """The person found with the smallest box around a place in source pixels."""

    def area(person: Person) -> float:
        left, top, right, bottom = person.box_xyxy
        return float((right - left) * (bottom - top))

    corners = ((person, person.box_xyxy.reshape(2, 2)) for person in persons if person.found)
    around = [person for person, (low, high) in corners if np.all(low <= place) and np.all(place <= high)]
    return min(around, key=area, default=None)
