"""What a trait is, how sure it is, and its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ..looks import Looks
from ..palette import SYNONYMS

PLURAL = frozenset({"trousers", "pants", "jeans", "shorts", "shoes", "sneakers"})


class Verdict(IntEnum):
    """Whether something can be said of somebody; the minimum is a conjunction."""

    NO = 0
    MAYBE = 1
    YES = 2


Test = Callable[[Looks], Verdict]


@dataclass(frozen=True)
class Trait:
    """A trait and how it is said.

    Attributes:
        family: traits of one family exclude each other in a caption.
        role: "wear" (in ...), "have" (with ...), "do" (participle) or "noun".
        phrases: wordings without article; the caption picks one.
        test: verdict for a person.
    """

    family: str
    role: str
    phrases: tuple[str, ...]
    test: Test


def article(phrase: str) -> str:
    """The phrase with its indefinite article, none for plural garments.

    >>> article("orange shirt"), article("blue jeans"), article("T-shirt")
    ('an orange shirt', 'blue jeans', 'a T-shirt')
    """
    if phrase.split()[-1] in PLURAL:
        return phrase
    return ("an " if phrase[0].lower() in "aeiou" else "a ") + phrase


def colour_words(colour: str) -> tuple[str, ...]:
    """All words for a colour of the palette."""
    return SYNONYMS.get(colour, (colour,))


def phrases(colours: tuple[str, ...], things: tuple[str, ...]) -> tuple[str, ...]:
    """Every colour word before every word for a thing."""
    return tuple(f"{colour} {thing}" for colour in colours for thing in things)


def graded(exact: bool, similar: bool, shown: bool) -> Verdict:
    """Yes when it is so and can be seen, perhaps when it is so or nearly so, else no."""
    if exact and shown:
        return Verdict.YES
    return Verdict.MAYBE if exact or similar else Verdict.NO
