"""Traits of what somebody wears, from hat to shoes."""

from __future__ import annotations

from ..looks import Looks
from ..palette import confusable
from .trait import Test, Trait, Verdict, colour_words, graded, phrases


def _upper_colours(who: Looks) -> set[str]:
    return {colour for colour in (who.upper, who.upper_second, who.jacket) if colour}


def _all_colours(who: Looks) -> set[str]:
    return _upper_colours(who) | {who.lower}


def colour_above(colour: str) -> Test:
    """Whether anything above the waist has a colour, whatever the garment."""

    def test(who: Looks) -> Verdict:
        worn = _upper_colours(who)
        similar = any(confusable(colour, other) for other in worn)
        return graded(colour in worn, similar, bool({"top", "jacket"} & who.shown))

    return test


def colour_below(colour: str) -> Test:
    """Whether what is worn below the waist has a colour."""

    def test(who: Looks) -> Verdict:
        return graded(who.lower == colour, confusable(colour, who.lower), "bottom" in who.shown)

    return test


TOP_WORDS: dict[str, tuple[str, ...]] = {
    "T-shirt": ("T-shirt", "t-shirt", "shirt", "top"),
    "shirt": ("shirt", "top", "long-sleeved shirt"),
    "sweater": ("sweater", "jumper", "top"),
    "tank top": ("tank top", "sleeveless top", "top"),
}


def upper(colour: str, kind: str) -> Trait:
    """A top of a colour; anybody with a similar colour above the waist counts as a possible match."""

    def test(who: Looks) -> Verdict:
        # Under an open jacket a top is a strip: true, but not what one would say.
        exact = who.upper == colour and who.top_kind == kind and not who.jacket and who.lower_kind != "dress"
        exact = exact and who.pattern in ("plain", "logo")
        similar = any(confusable(colour, other) for other in _upper_colours(who))
        return graded(exact, similar, "top" in who.shown)

    return Trait("upper", "wear", phrases(colour_words(colour), TOP_WORDS[kind]), test)


def pattern(name: str, kind: str) -> Trait:
    """A striped or checked top."""
    word = {"horizontal stripes": ("striped",), "vertical stripes": ("striped",), "checks": ("checked", "plaid")}[name]
    striped = word == ("striped",)

    def test(who: Looks) -> Verdict:
        same = who.pattern.endswith("stripes") if striped else who.pattern == name
        exact = same and who.top_kind == kind and not who.jacket and who.lower_kind != "dress"
        return graded(exact, same or who.pattern in ("checks", "horizontal stripes"), "top" in who.shown)

    return Trait("upper", "wear", phrases(word, TOP_WORDS[kind]), test)


def striped_colour(colour: str, name: str, kind: str) -> Trait:
    """A patterned top of a main colour: "striped red shirt"."""
    base = pattern(name, kind)
    words = tuple(f"{phrase.split(' ', 1)[0]} {c} {phrase.split(' ', 1)[1]}" for phrase in base.phrases
                  for c in colour_words(colour))  # fmt: skip

    def test(who: Looks) -> Verdict:
        if base.test(who) == Verdict.NO:
            return Verdict.NO
        if who.upper == colour:
            return base.test(who)
        return Verdict.MAYBE if any(confusable(colour, other) for other in _upper_colours(who)) else Verdict.NO

    return Trait("upper", "wear", words, test)


def jacket(colour: str, kind: str) -> Trait:
    """An open jacket or coat of a colour."""

    def test(who: Looks) -> Verdict:
        exact = who.jacket == colour and who.jacket_kind == kind
        similar = any(confusable(colour, other) for other in _upper_colours(who))
        return graded(exact, similar, "jacket" in who.shown)

    return Trait("upper", "wear", phrases(colour_words(colour), (kind,)), test)


def dress(colour: str) -> Trait:
    """A dress of a colour."""

    def test(who: Looks) -> Verdict:
        exact = who.lower_kind == "dress" and who.upper == colour and not who.jacket
        skirted = who.lower_kind in ("dress", "skirt")
        similar = skirted and any(confusable(colour, other) for other in _all_colours(who))
        return graded(exact, similar, {"top", "bottom"} <= who.shown)

    return Trait("upper", "wear", phrases(colour_words(colour), ("dress",)), test)


def in_colour(colour: str) -> Trait:
    """ "in red": the main colour above the waist, when nobody else wears anything like it."""

    def test(who: Looks) -> Verdict:
        main = who.jacket or who.upper
        exact = main == colour and (who.pattern in ("plain", "logo") or bool(who.jacket))
        similar = any(confusable(colour, other) for other in _all_colours(who))
        return graded(exact, similar, ("jacket" if who.jacket else "top") in who.shown)

    return Trait("upper", "colour", colour_words(colour), test)


LOWER_WORDS: dict[str, tuple[str, ...]] = {
    "trousers": ("trousers", "pants"),
    "jeans": ("jeans",),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
}
LOWER_GROUP = {"trousers": "long", "jeans": "long", "shorts": "shorts", "skirt": "skirt", "dress": "skirt"}


def lower(colour: str, kind: str) -> Trait:
    """Trousers, jeans, shorts or a skirt of a colour."""

    def test(who: Looks) -> Verdict:
        similar = confusable(colour, who.lower) and LOWER_GROUP[who.lower_kind] == LOWER_GROUP[kind]
        return graded(similar and who.lower == colour and who.lower_kind == kind, similar, "bottom" in who.shown)

    return Trait("lower", "wear", phrases(colour_words(colour), LOWER_WORDS[kind]), test)


def lower_kind(kind: str) -> Trait:
    """Shorts, a skirt, a dress or jeans of any colour."""

    def test(who: Looks) -> Verdict:
        similar = LOWER_GROUP[who.lower_kind] == LOWER_GROUP[kind]
        return graded(who.lower_kind == kind, similar, "bottom" in who.shown)

    return Trait("lower", "wear", (kind,), test)


def shoes(colour: str) -> Trait:
    """Shoes of a colour."""

    def test(who: Looks) -> Verdict:
        return graded(who.shoe == colour, confusable(colour, who.shoe), "shoe" in who.shown and who.legs)

    return Trait("shoes", "have", phrases(colour_words(colour), ("shoes", "sneakers")), test)


def hat(colour: str = "") -> Trait:
    """A beanie, of a colour or of any."""

    def test(who: Looks) -> Verdict:
        if not who.hat:
            return Verdict.NO
        return graded(not colour or who.hat == colour, confusable(colour, who.hat) if colour else True,
                       "hat" in who.shown)  # fmt: skip

    things = ("beanie", "hat", "cap")
    return Trait("hat", "wear", phrases(colour_words(colour), things) if colour else things, test)
