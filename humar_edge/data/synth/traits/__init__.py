"""Things that can be said of a person, each with a test that answers yes, perhaps or no for anybody."""

from __future__ import annotations

from ..looks import Looks
from .actions import ACTION_WORDS, action
from .body import back, bald, beard, hair, long_hair
from .clothes import (
    LOWER_WORDS,
    TOP_WORDS,
    colour_above,
    colour_below,
    dress,
    hat,
    in_colour,
    jacket,
    lower,
    lower_kind,
    pattern,
    shoes,
    striped_colour,
    upper,
)
from .nouns import noun, nouns_for
from .trait import Trait, Verdict, article

__all__ = [
    "ACTION_WORDS", "LOWER_WORDS", "TOP_WORDS",
    "Trait", "Verdict", "action", "article", "back", "bald", "beard", "colour_above", "colour_below", "dress", "hair",
    "hat", "in_colour", "jacket", "long_hair", "lower", "lower_kind", "noun", "nouns_for", "pattern", "shoes",
    "striped_colour", "traits_of", "upper",
]  # fmt: skip


def traits_of(who: Looks) -> list[Trait]:
    """Everything that can surely be said of somebody."""
    found = [
        upper(who.upper, who.top_kind),
        in_colour(who.jacket or who.upper),
        hair(who.hair),
        long_hair(),
        bald(),
        beard(),
        back(),
        action(who.action),
        shoes(who.shoe),
    ]
    if who.jacket:
        found.append(jacket(who.jacket, who.jacket_kind))
    if who.hat:
        found += [hat(who.hat), hat()]
    if who.pattern not in ("plain", "logo"):
        found += [pattern(who.pattern, who.top_kind), striped_colour(who.upper, who.pattern, who.top_kind)]
    if who.lower_kind == "dress":
        found += [dress(who.upper), lower_kind("dress")]
    else:
        found += [lower(who.lower, who.lower_kind), lower_kind(who.lower_kind)]
    return [trait for trait in found if trait.test(who) == Verdict.YES]
