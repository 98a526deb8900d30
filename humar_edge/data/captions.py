"""Captions under augmentation: what stays true when a picture is mirrored or cropped, and other ways to say it."""

from __future__ import annotations

import re

import numpy as np

_SIDES = re.compile(r"\b(left|right)(most|ward|wards|hand)?\b", re.IGNORECASE)
_RELATIONAL = re.compile(
    r"\b(left|right|leftmost|rightmost|middle|centre|center|between|behind|front|next|beside|near|second|third|2nd|3rd|"
    r"first|last|only|far|closest|nearest|furthest|other|alone)\b",
    re.IGNORECASE,
)

PARAPHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"who is wearing", ("wearing", "in", "with", "dressed in", "that wears", "who wears")),
    (r"dressed in", ("wearing", "in", "who is wearing")),
    (r"wearing", ("in", "with", "who wears")),
    (r"person", ("person", "someone", "human", "figure", "pedestrian")),
    (
        r"person|individual|pedestrian",
        (
            "player",
            "rider",
            "worker",
            "athlete",
            "tourist",
            "student",
            "runner",
            "skier",
            "cyclist",
            "dancer",
            "umpire",
            "soldier",
            "musician",
            "customer",
            "passer-by",
        ),
    ),
    (r"man", ("man", "male", "guy", "dude", "man", "gentleman")),
    (r"woman", ("woman", "female", "lady", "woman", "girl")),
    (r"t-shirt", ("t-shirt", "tshirt", "tee", "shirt")),
    (r"trousers", ("pants", "trousers")),
    (r"pants", ("pants", "trousers")),
    (r"sweater", ("sweater", "pullover", "jumper")),
    (r"sunglasses", ("sunglasses", "shades", "dark glasses")),
    (r"handbag", ("handbag", "purse", "bag")),
    (r"gray", ("gray", "grey")),
    (r"navy", ("navy", "dark blue", "navy blue")),
    (r"on the left", ("on the left", "at the left", "on the left side", "to the left", "left", "standing on the left")),
    (
        r"on the right",
        ("on the right", "at the right", "on the right side", "to the right", "right", "standing on the right"),
    ),
)
"""Word or phrase -> other ways to say it. Roles stand for any person: what tells people apart is said beside them."""

_PATTERNS = tuple((re.compile(rf"\b(?:{pattern})\b"), choices) for pattern, choices in PARAPHRASES)
_OPENINGS = ("find ", "show me ", "where is ", "track ", "select ", "look for ", "please find ")


def mirror(caption: str) -> str:
    """Swap left and right, whole words only (never "bright"), keeping their case."""

    def swap(match: re.Match[str]) -> str:
        word, suffix = match[1], match[2] or ""
        other = "right" if word.lower() == "left" else "left"
        if word.isupper():
            other = other.upper()
        elif word[0].isupper():
            other = other.capitalize()
        return other + suffix

    return _SIDES.sub(swap, caption)


def is_relational(caption: str) -> bool:
    """Whether a caption speaks of places or of other people, so that a crop may make it false."""
    return _RELATIONAL.search(caption) is not None


def paraphrase(caption: str, rng: np.random.Generator) -> str:
    """Say the same in other words, at random: synonyms, another opening, no article, other case."""
    text = caption.rstrip(".")
    for pattern, choices in _PATTERNS:
        if rng.random() < 0.3 and pattern.search(text):
            text = pattern.sub(choices[rng.integers(len(choices))], text, count=1)
    if rng.random() < 0.1 and text.lower().startswith("the "):
        text = text[4:]
    if rng.random() < 0.06:
        text = _OPENINGS[rng.integers(len(_OPENINGS))] + text
    if rng.random() < 0.05:
        text = text.upper()
    return text
