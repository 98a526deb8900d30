"""Whom the page looks for: prompts with the numbers by which the page calls them, and the one that is selected."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from humar_edge.errors import PromptError
from humar_edge.prompts import PositionalPrompt, Prompt, point_prompt
from humar_edge.results import Person
from humar_edge.runtime.tracking import follow_points

MAX_PROMPTS = 6
CLICKED = "clicked person"


@dataclass(frozen=True)
class Entry:
    """A prompt with the number by which the page calls it."""

    id: int
    prompt: Prompt

    @property
    def positional(self) -> bool:
        """Whether it came from a click."""
        return isinstance(self.prompt, PositionalPrompt)


class PromptList:
    """Up to `MAX_PROMPTS` prompts, of which one at most is a click. Not safe for threads: `Session` holds its lock."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._entries: list[Entry] = []
        self._selected: int | None = None

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts in the order of the page."""
        return [entry.prompt for entry in self._entries]

    @property
    def clicked(self) -> bool:
        """Whether one of them is a click."""
        return any(entry.positional for entry in self._entries)

    @property
    def selected(self) -> int | None:
        """Number of the selected prompt; None: everybody."""
        return self._selected

    @property
    def selected_text(self) -> str | None:
        """Words of the selected prompt."""
        return next((entry.prompt.text for entry in self._entries if entry.id == self._selected), None)

    def number_of(self, text: str) -> int | None:
        """Number of the prompt with these words."""
        return next((entry.id for entry in self._entries if entry.prompt.text == text), None)

    def add(self, prompt: Prompt, *, alone: bool = False) -> int:
        """Add a prompt unless it is there; returns its number.

        Args:
            prompt: Words.
            alone: Drop all others.

        Raises:
            PromptError: There are too many.
        """
        number = self.number_of(prompt.text)
        if number is None:
            return self._append([] if alone else self._entries, prompt)
        if alone:
            self._keep([entry for entry in self._entries if entry.id == number])
        return number

    def add_click(self, place: tuple[float, float]) -> int:
        """Put a click in the place of the one before, and select it; returns its number.

        Args:
            place: x and y in source pixels.

        Raises:
            PromptError: There are too many.
        """
        words = [entry for entry in self._entries if not entry.positional]
        self._selected = self._append(words, replace(point_prompt([place]), text=CLICKED))
        return self._selected

    def remove(self, number: int) -> None:
        """Drop a prompt.

        Raises:
            KeyError: There is no such prompt.
            PromptError: It is the last one.
        """
        self._check_number(number)
        kept = [entry for entry in self._entries if entry.id != number]
        if not kept:
            raise PromptError("this is the only prompt; type another one instead")
        self._keep(kept)

    def select(self, number: int | None) -> None:
        """Select a prompt; None: everybody.

        Raises:
            KeyError: There is no such prompt.
        """
        if number is not None:
            self._check_number(number)
        self._selected = number

    def forget_clicks(self, fallback: Callable[[], Prompt]) -> None:
        """Drop clicks; look for what `fallback` gives when nothing else is left."""
        kept = [entry for entry in self._entries if not entry.positional]
        self._keep(kept or [Entry(next(self._numbers), fallback())])

    def follow(self, persons: Sequence[Person]) -> None:
        """Move clicks to where their people are now."""
        found = {person.text: person for person in persons}
        self._entries = [_followed(entry, found.get(entry.prompt.text)) for entry in self._entries]

    def state(self, persons: Sequence[Person]) -> list[dict[str, Any]]:
        """What the page shows of each prompt, as plain data.

        Args:
            persons: The newest results; those of prompts that are gone are ignored.
        """
        found = {person.text: person for person in persons}
        return [_state(entry, found.get(entry.prompt.text)) for entry in self._entries]

    def _append(self, kept: Sequence[Entry], prompt: Prompt) -> int:
        if len(kept) >= MAX_PROMPTS:
            raise PromptError(f"at most {MAX_PROMPTS} people at a time; remove one first")
        entry = Entry(next(self._numbers), prompt)
        self._keep([*kept, entry])
        return entry.id

    def _keep(self, entries: list[Entry]) -> None:
        self._entries = entries
        if all(entry.id != self._selected for entry in entries):
            self._selected = None

    def _check_number(self, number: int) -> None:
        if all(entry.id != number for entry in self._entries):
            raise KeyError(number)


def _followed(entry: Entry, person: Person | None) -> Entry:
    if person is None or not isinstance(entry.prompt, PositionalPrompt):
        return entry
    return replace(entry, prompt=follow_points(entry.prompt, person))


def _state(entry: Entry, person: Person | None) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": "click" if entry.positional else "text",
        "text": entry.prompt.text,
        "truncated": getattr(entry.prompt, "truncated", False),
        "found": person.found if person else None,
        "score": round(person.score, 3) if person else None,
    }
