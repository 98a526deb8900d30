"""What annotations say of a person's looks, for training that names them: one character per name of `NAMES`."""

from __future__ import annotations

from .looks import Looks
from .palette import CLOTH
from .traits import Verdict, beard, colour_above, colour_below, hair, hat, in_colour, lower_kind, noun, shoes

COLOURS = tuple(CLOTH)
HAIR = ("black", "brown", "blond", "red", "grey")
KINDS = ("dress", "skirt", "shorts")

_ABOUT = {
    **{f"{colour} torso": colour_above(colour) for colour in COLOURS},
    **{f"{colour} lower": colour_below(colour) for colour in COLOURS},
    **{f"{colour} feet": shoes(colour).test for colour in COLOURS},
    **{f"{colour} hat": hat(colour).test for colour in COLOURS},
    **{f"in {colour}": in_colour(colour).test for colour in COLOURS},
    **{f"{colour} hair": hair(colour).test for colour in HAIR},
    **{kind: lower_kind(kind).test for kind in KINDS},
    "hat": hat().test,
    "beard": beard().test,
    "female": noun("f").test,
}
NAMES = tuple(name.replace("grey", "gray") for name in _ABOUT)
"""What the characters speak of."""

_CHARACTERS = {Verdict.NO: "0", Verdict.MAYBE: "?", Verdict.YES: "1"}


def describe(who: Looks) -> str:
    """1 true, 0 false, ? unsure or out of sight; as long as `NAMES`."""
    return "".join(_CHARACTERS[test(who)] for test in _ABOUT.values())
