"""Man, woman, child, person."""

from __future__ import annotations

from ..looks import Looks
from .trait import Trait, Verdict

NOUNS: dict[str, tuple[str, ...]] = {
    "m": ("man", "man", "man", "guy"),
    "f": ("woman", "woman", "woman", "lady"),
    "child": ("child", "kid"),
    "": ("person",),
}


def noun(kind: str) -> Trait:
    """Man, woman, child or person ("m", "f", "child", "")."""

    def test(who: Looks) -> Verdict:
        if kind == "":
            return Verdict.YES
        if kind == "child":
            return {"child": Verdict.YES, "": Verdict.MAYBE}.get(who.age, Verdict.NO)
        if who.sex not in (kind, ""):
            return Verdict.NO
        return Verdict.YES if who.sex == kind and who.age == "adult" else Verdict.MAYBE

    return Trait("noun", "noun", NOUNS[kind], test)


def nouns_for(who: Looks) -> list[str]:
    """Kinds of nouns that surely fit somebody, the most telling first."""
    return [kind for kind in ("child", "m", "f", "") if noun(kind).test(who) == Verdict.YES]
