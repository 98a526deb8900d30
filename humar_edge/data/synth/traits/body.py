"""Traits of head and body: hair, beard, and the side that is seen."""

from __future__ import annotations

from ..looks import Looks
from ..palette import HAIR_ALIKE, confusable
from .trait import Trait, Verdict, graded, phrases


def hair(colour: str) -> Trait:
    """Hair of a colour."""
    words = {"blond": ("blond", "blonde"), "grey": ("grey", "gray")}.get(colour, (colour,))

    def test(who: Looks) -> Verdict:
        if who.hair_style == "bald":
            return Verdict.NO
        shown = "hair" in who.shown and not who.hat
        return graded(who.hair == colour, confusable(colour, who.hair, HAIR_ALIKE), shown)

    return Trait("hair", "have", phrases(words, ("hair",)), test)


def long_hair() -> Trait:
    """Long hair."""

    def test(who: Looks) -> Verdict:
        return graded(who.hair_style == "long", False, "hair" in who.shown)

    return Trait("hair", "have", ("long hair",), test)


def bald() -> Trait:
    """No hair."""

    def test(who: Looks) -> Verdict:
        return graded(who.hair_style == "bald" and not who.hat, who.hair_style == "bald", "hair" not in who.shown)

    return Trait("hair", "have", ("a bald head", "no hair"), test)


def beard() -> Trait:
    """A beard."""

    def test(who: Looks) -> Verdict:
        return graded(who.beard, False, who.face and who.back == 0)

    return Trait("beard", "have", ("a beard",), test)


def back() -> Trait:
    """Turned away from the camera."""

    def test(who: Looks) -> Verdict:
        return {1.0: Verdict.YES, 0.5: Verdict.MAYBE, 0.0: Verdict.NO}[who.back]

    return Trait("back", "do", ("seen from behind", "facing away", "turned away from the camera"), test)
