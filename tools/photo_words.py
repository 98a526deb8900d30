"""Captions of people in photographs, from the table that somebody made by eye (`sport_people.csv`).

A caption is a noun and up to two facts, and perhaps a place. It is used where it fits one person of a picture and might
fit nobody else there; what the table could not tell ("?") might be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from more_words import ACTIONS, alike

Label = dict[str, str]
"""A row of the table."""
NEAR = {
    "black": "navy gray blue", "navy": "black blue purple", "blue": "navy black purple", "purple": "navy blue pink red",
    "red": "pink orange brown purple", "pink": "red purple orange beige", "orange": "red yellow brown pink beige",
    "yellow": "orange beige green", "green": "yellow navy gray", "brown": "red orange beige black gray",
    "beige": "white brown yellow pink orange gray", "white": "gray beige", "gray": "white black beige navy green brown",
}  # fmt: skip
"""Colours that somebody may call by each other's name."""
NEAR_HAIR = {
    "black": "brown", "brown": "black blond red", "blond": "brown red gray", "red": "brown blond",
    "gray": "blond black", "bald": "",
}  # fmt: skip
NOUNS = {"man": ("man", "man", "guy"), "woman": ("woman", "woman", "lady"), "boy": ("boy",), "girl": ("girl",)}
ANYBODY = ("person", "person", "one", "athlete")
AS_MALE = {"man": True, "boy": True, "woman": False, "girl": False}
HEADWEAR = {"cap": ("cap", "hat"), "hat": ("hat", "cap"), "helmet": ("helmet",)}
"""What is worn -> what it may also be called."""
TOPS = {"shirt": ("shirt", "top", "t-shirt"), "jacket": ("jacket", "top"), "suit": ("outfit",), "dress": ("dress",)}
TROUSERS = {"pants": ("pants", "trousers"), "shorts": ("shorts",), "skirt": ("skirt",)}
WITH_NOUN = 0.65
"""Share of the captions that name an apparent gender, where it is known."""
WITH_PLACE = 0.3
"""Share of the captions that name the place."""
TRIES = 40


@dataclass(frozen=True)
class Fact:
    """Something to say of somebody: what it is about, ways to say it, and of whom else it might be said."""

    about: str
    phrases: tuple[str, ...]
    fits: Callable[[Label], bool]


def with_article(words: str) -> str:
    """The words after "a" or "an"; "one" sounds like "won"."""
    return f"{'an' if words[0] in 'aeiou' and not words.startswith('one') else 'a'} {words}"


def near(colour: str, other: str, table: dict[str, str] = NEAR) -> bool:
    """Whether something of the colour `other` might be called `colour`."""
    return other in ("?", colour) or other in table[colour].split()


def is_on_top(label: Label, colour: str) -> bool:
    """Whether the person might wear the colour above."""
    worn = [label[key] for key in ("topcolour", "topcolour2") if label[key]]
    return label["top"] == "?" or any(near(colour, one) for one in worn)


def is_below(label: Label, colour: str) -> bool:
    """Whether the person might wear the colour below, as part of a suit or a dress too."""
    whole = label["top"] in ("suit", "dress") and is_on_top(label, colour)
    return whole or label["lower"] == "?" or bool(label["lowercolour"] and near(colour, label["lowercolour"]))


def noun_facts(label: Label) -> list[Fact]:
    """The noun for the apparent gender, if it is known."""
    gender = label["gender"]
    if gender not in NOUNS:
        return []
    return [Fact("noun", NOUNS[gender], lambda other: AS_MALE.get(other["gender"]) in (None, AS_MALE[gender]))]


def clothes_facts(label: Label) -> list[Fact]:
    """Colours and kinds of what is worn."""
    found = []
    if label["top"] in TOPS and (top := label["topcolour"]) in NEAR:
        names = TOPS[label["top"]]
        found.append(Fact("top", (f"in {top}",), lambda other: is_on_top(other, top) or is_below(other, top)))
        said = tuple(f"{verb} {with_article(top)} {name}" for verb in ("in", "wearing") for name in names)
        found.append(Fact("top", said, lambda other: is_on_top(other, top)))
    if label["top"] == "bare":
        said = ("with no shirt", "without a shirt", "with a bare chest", "who is shirtless")
        found.append(Fact("top", said, lambda other: other["top"] in ("bare", "?")))
    if label["lower"] in TROUSERS and (lower := label["lowercolour"]) in NEAR:
        said = tuple(f"{verb} {lower} {name}" for verb in ("in", "wearing") for name in TROUSERS[label["lower"]])
        found.append(Fact("lower", said, lambda other: is_below(other, lower)))
    if label["lower"] == "shorts":
        found.append(Fact("lower", ("in shorts", "wearing shorts"), lambda other: other["lower"] != "pants"))
    return found


def head_facts(label: Label) -> list[Fact]:
    """Hats, hair and glasses."""
    found = []
    if (head := label["head"]) in HEADWEAR:
        colour = label["headcolour"]
        name = with_article(f"{colour} {head}" if colour in NEAR else head)
        said = (f"with a {head}", f"wearing a {head}", f"with {name}", f"wearing {name}")
        found.append(Fact("head", said, lambda other: other["head"] in ("?", *HEADWEAR[head])))
    if (hair := label["hair"]) in NEAR_HAIR:
        said = ("who is bald", "with no hair") if hair == "bald" else (f"with {hair} hair",)
        found.append(Fact("hair", said, lambda other: near(hair, other["hair"], NEAR_HAIR)))
    if (glasses := label["glasses"]) in ("glasses", "sunglasses"):
        said = (f"with {glasses}", f"wearing {glasses}")
        found.append(Fact("glasses", said, lambda other: other["glasses"] != "none"))
    return found


def body_facts(label: Label) -> list[Fact]:
    """What somebody does, and whether the back is turned."""
    found = []
    if (action := label["action"]) in ACTIONS:
        found.append(
            Fact("action", ACTIONS[action], lambda other: other["action"] == "?" or alike(action, other["action"]))
        )
    if label["view"] == "back":
        said = ("seen from behind", "from behind", "facing away", "with the back to the camera")
        found.append(Fact("view", said, lambda other: other["view"] != "front"))
    return found


def facts(label: Label) -> list[Fact]:
    """All that can be said of somebody but the noun."""
    return [*clothes_facts(label), *head_facts(label), *body_facts(label)]


def _chosen(nouns: list[Fact], known: list[Fact], rng: np.random.Generator) -> tuple[list[Fact], str]:
    """Facts of a caption, the noun's too, and the caption without article and place."""
    one_each = {fact.about: fact for fact in (known[k] for k in rng.permutation(len(known)))}
    few = list(one_each.values())[: rng.choice([0, 1, 2], p=[0.15, 0.6, 0.25])]
    named = nouns if rng.random() < WITH_NOUN else []
    noun = str(rng.choice(named[0].phrases if named else ANYBODY))
    return [*named, *few], " ".join([noun, *(str(rng.choice(fact.phrases)) for fact in few)])


def _placed(text: str, side: str, rng: np.random.Generator) -> str:
    """The caption with a place."""
    where = "in the middle" if side == "middle" else f"on the {side}"
    noun, _, rest = text.partition(" ")
    return str(rng.choice([f"{text} {where}", f"{noun} {where} {rest}".strip(), f"{side} {text}"]))


def _introduced(text: str, rng: np.random.Generator) -> str:
    """The caption with an article, or as it is."""
    return str(rng.choice([f"the {text}", with_article(text), text, text]))


def captions(people: Sequence[Label], at: int, side: str | None, most: int, rng: np.random.Generator) -> list[str]:
    """Captions that fit one of the people and might fit nobody else.

    Args:
        people: All people of the picture.
        at: Whom the captions are to fit.
        side: The place that nobody else has ("left", "middle", "right"), or None.
        most: Largest number of captions; there may be none.
        rng: Chooses.
    """
    others = [other for k, other in enumerate(people) if k != at]
    nouns, known = noun_facts(people[at]), facts(people[at])
    found: dict[str, None] = {}
    for _ in range(TRIES):
        used, text = _chosen(nouns, known, rng)
        if side and rng.random() < WITH_PLACE:
            text = _placed(text, side, rng)
        elif any(all(fact.fits(other) for fact in used) for other in others):
            continue
        found[_introduced(text, rng)] = None
        if len(found) == most:
            break
    return list(found)


def absent_caption(people: Sequence[Label], strangers: Sequence[Label], rng: np.random.Generator) -> str | None:
    """A caption that might fit nobody in the picture: the noun of one person or stranger and facts of another; None
    where none was found."""
    anybody = [*people, *strangers]
    for _ in range(TRIES):
        one, another = (anybody[k] for k in rng.integers(len(anybody), size=2))
        used, text = _chosen(noun_facts(one), facts(another), rng)
        if used and not any(all(fact.fits(person) for fact in used) for person in people):
            return _introduced(text, rng)
    return None
