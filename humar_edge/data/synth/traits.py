"""Things that can be said of a person, each with a test that answers yes, perhaps or no for anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from .looks import Looks
from .palette import HAIR_ALIKE, SYNONYMS, confusable

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


def _phrases(colours: tuple[str, ...], things: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{colour} {thing}" for colour in colours for thing in things)


def _graded(exact: bool, similar: bool, shown: bool) -> Verdict:
    if exact and shown:
        return Verdict.YES
    return Verdict.MAYBE if exact or similar else Verdict.NO


def _upper_colours(who: Looks) -> set[str]:
    return {colour for colour in (who.upper, who.upper_second, who.jacket) if colour}


def _all_colours(who: Looks) -> set[str]:
    return _upper_colours(who) | {who.lower}


def colour_above(colour: str) -> Test:
    """Whether anything above the waist has a colour, whatever the garment."""

    def test(who: Looks) -> Verdict:
        worn = _upper_colours(who)
        similar = any(confusable(colour, other) for other in worn)
        return _graded(colour in worn, similar, bool({"top", "jacket"} & who.shown))

    return test


def colour_below(colour: str) -> Test:
    """Whether what is worn below the waist has a colour."""

    def test(who: Looks) -> Verdict:
        return _graded(who.lower == colour, confusable(colour, who.lower), "bottom" in who.shown)

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
        return _graded(exact, similar, "top" in who.shown)

    return Trait("upper", "wear", _phrases(colour_words(colour), TOP_WORDS[kind]), test)


def pattern(name: str, kind: str) -> Trait:
    """A striped or checked top."""
    word = {"horizontal stripes": ("striped",), "vertical stripes": ("striped",), "checks": ("checked", "plaid")}[name]
    striped = word == ("striped",)

    def test(who: Looks) -> Verdict:
        same = who.pattern.endswith("stripes") if striped else who.pattern == name
        exact = same and who.top_kind == kind and not who.jacket and who.lower_kind != "dress"
        return _graded(exact, same or who.pattern in ("checks", "horizontal stripes"), "top" in who.shown)

    return Trait("upper", "wear", _phrases(word, TOP_WORDS[kind]), test)


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
        return _graded(exact, similar, "jacket" in who.shown)

    return Trait("upper", "wear", _phrases(colour_words(colour), (kind,)), test)


def dress(colour: str) -> Trait:
    """A dress of a colour."""

    def test(who: Looks) -> Verdict:
        exact = who.lower_kind == "dress" and who.upper == colour and not who.jacket
        skirted = who.lower_kind in ("dress", "skirt")
        similar = skirted and any(confusable(colour, other) for other in _all_colours(who))
        return _graded(exact, similar, {"top", "bottom"} <= who.shown)

    return Trait("upper", "wear", _phrases(colour_words(colour), ("dress",)), test)


def in_colour(colour: str) -> Trait:
    """ "in red": the main colour above the waist, when nobody else wears anything like it."""

    def test(who: Looks) -> Verdict:
        main = who.jacket or who.upper
        exact = main == colour and (who.pattern in ("plain", "logo") or bool(who.jacket))
        similar = any(confusable(colour, other) for other in _all_colours(who))
        return _graded(exact, similar, ("jacket" if who.jacket else "top") in who.shown)

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
        return _graded(similar and who.lower == colour and who.lower_kind == kind, similar, "bottom" in who.shown)

    return Trait("lower", "wear", _phrases(colour_words(colour), LOWER_WORDS[kind]), test)


def lower_kind(kind: str) -> Trait:
    """Shorts, a skirt, a dress or jeans of any colour."""

    def test(who: Looks) -> Verdict:
        similar = LOWER_GROUP[who.lower_kind] == LOWER_GROUP[kind]
        return _graded(who.lower_kind == kind, similar, "bottom" in who.shown)

    return Trait("lower", "wear", (kind,), test)


def shoes(colour: str) -> Trait:
    """Shoes of a colour."""

    def test(who: Looks) -> Verdict:
        return _graded(who.shoe == colour, confusable(colour, who.shoe), "shoe" in who.shown and who.legs)

    return Trait("shoes", "have", _phrases(colour_words(colour), ("shoes", "sneakers")), test)


def hat(colour: str = "") -> Trait:
    """A beanie, of a colour or of any."""

    def test(who: Looks) -> Verdict:
        if not who.hat:
            return Verdict.NO
        return _graded(not colour or who.hat == colour, confusable(colour, who.hat) if colour else True,
                       "hat" in who.shown)  # fmt: skip

    things = ("beanie", "hat", "cap")
    return Trait("hat", "wear", _phrases(colour_words(colour), things) if colour else things, test)


def hair(colour: str) -> Trait:
    """Hair of a colour."""
    words = {"blond": ("blond", "blonde"), "grey": ("grey", "gray")}.get(colour, (colour,))

    def test(who: Looks) -> Verdict:
        if who.hair_style == "bald":
            return Verdict.NO
        shown = "hair" in who.shown and not who.hat
        return _graded(who.hair == colour, confusable(colour, who.hair, HAIR_ALIKE), shown)

    return Trait("hair", "have", _phrases(words, ("hair",)), test)


def long_hair() -> Trait:
    """Long hair."""

    def test(who: Looks) -> Verdict:
        return _graded(who.hair_style == "long", False, "hair" in who.shown)

    return Trait("hair", "have", ("long hair",), test)


def bald() -> Trait:
    """No hair."""

    def test(who: Looks) -> Verdict:
        return _graded(who.hair_style == "bald" and not who.hat, who.hair_style == "bald", "hair" not in who.shown)

    return Trait("hair", "have", ("a bald head", "no hair"), test)


def beard() -> Trait:
    """A beard."""

    def test(who: Looks) -> Verdict:
        return _graded(who.beard, False, who.face and who.back == 0)

    return Trait("beard", "have", ("a beard",), test)


def back() -> Trait:
    """Turned away from the camera."""

    def test(who: Looks) -> Verdict:
        return {1.0: Verdict.YES, 0.5: Verdict.MAYBE, 0.0: Verdict.NO}[who.back]

    return Trait("back", "do", ("seen from behind", "facing away", "turned away from the camera"), test)


ACTION_WORDS: dict[str, tuple[str, ...]] = {
    "sitting": ("sitting", "sitting on a box", "seated"),
    "waving": ("waving", "waving a hand"),
    "running": ("running",),
    "walking": ("walking",),
    "arms raised": ("raising both arms", "with both arms raised", "with arms up", "with raised arms"),
    "hands on hips": ("with hands on hips", "with both hands on the hips"),
    "crouching": ("crouching", "squatting"),
    "pointing": ("pointing", "stretching out an arm"),
    "phoning": ("holding a hand to the ear", "talking on the phone"),
    "arms folded": ("with folded arms", "with arms crossed"),
    "standing": ("standing",),
}
ACTION_ALIKE: dict[str, frozenset[str]] = {
    "sitting": frozenset({"crouching"}),
    "crouching": frozenset({"sitting"}),
    "waving": frozenset({"arms raised", "phoning", "pointing"}),
    "arms raised": frozenset({"waving"}),
    "running": frozenset({"walking"}),
    "walking": frozenset({"running"}),
    "pointing": frozenset({"waving", "arms folded"}),
    "phoning": frozenset({"waving"}),
    "arms folded": frozenset({"pointing", "sitting", "crouching"}),
    "hands on hips": frozenset(),
    "standing": frozenset(ACTION_WORDS) - {"sitting", "crouching", "running"},
}
LEG_ACTIONS = frozenset({"sitting", "running", "walking", "crouching", "standing"})


def action(name: str) -> Trait:
    """What somebody does; legs or hands must be visible for a sure yes."""

    def test(who: Looks) -> Verdict:
        shown = who.legs if name in LEG_ACTIONS else who.hands
        return _graded(who.action == name, who.action in ACTION_ALIKE[name], shown)

    return Trait("action", "do", ACTION_WORDS[name], test)


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
