"""Captions under augmentation: what stays true when a picture is mirrored or cropped, and other ways to say it."""

from __future__ import annotations

import re

import numpy as np

from humar_edge.data.synonyms import ASIDES, SYNONYMS

_SIDES = re.compile(r"\b(left|right)(most|ward|wards|hand)?\b", re.IGNORECASE)
_RELATIONAL = re.compile(
    r"\b(left|right|leftmost|rightmost|middle|centre|center|between|behind|front|next|beside|near|second|third|2nd|3rd|"
    r"first|last|only|far|closest|nearest|furthest|other|alone)\b",
    re.IGNORECASE,
)

_PATTERNS = tuple((re.compile(rf"\b(?:{pattern})\b"), choices) for pattern, choices in SYNONYMS)
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
    """Say the same in other words, at random: synonyms, another opening, an aside, no article, other case."""
    text = caption.rstrip(".")
    for pattern, choices in _PATTERNS:
        if rng.random() < 0.3 and pattern.search(text):
            text = pattern.sub(choices[rng.integers(len(choices))], text, count=1)
    if rng.random() < 0.1 and text.lower().startswith("the "):
        text = text[4:]
    if rng.random() < 0.1:
        text = f"{text} {ASIDES[rng.integers(len(ASIDES))]}"
    if rng.random() < 0.06:
        text = _OPENINGS[rng.integers(len(_OPENINGS))] + text
    if rng.random() < 0.05:
        text = text.upper()
    return text
