"""Text in pictures: what OpenCV can draw of a prompt, and how large it gets."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX

# Since version 5 OpenCV's fonts cover Latin, Greek, Cyrillic and CJK; before, ASCII only.
_UNICODE_FONTS = int(cv2.__version__.split(".")[0]) >= 5

_SPELLED = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ı": "i"})
_DASHES_AND_QUOTES = str.maketrans("‐‑–—‘’“”…", "----''\"\".")


def printable(text: str, *, unicode_fonts: bool = _UNICODE_FONTS) -> str:
    """What can be drawn of a text: without Unicode fonts accents are dropped and letters spelled in ASCII.

    Characters with no letter shape (emoji, and scripts that cannot be spelled) are left out rather than drawn as "?".

    Example:
        >>> printable("Mädchen – красная 👩", unicode_fonts=False)
        'Madchen - krasnaya'
    """
    text = unicodedata.normalize("NFC", text).translate(_DASHES_AND_QUOTES)
    if unicode_fonts:
        kept = [character for character in text if character.isascii() or unicodedata.category(character)[0] in "LNP"]
        kept = [character for character in kept if ord(character) < 0x10000]
    else:
        kept = [_ascii(character) for character in text.translate(_SPELLED)]
    return " ".join("".join(kept).split())


def _ascii(character: str) -> str:
    """ASCII letters for one character, from its decomposition or, for other alphabets, from its Unicode name."""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain or character.isspace():
        return plain or " "
    script, _, letter = unicodedata.name(character, "").partition(" LETTER ")
    if not letter or not script.startswith(("CYRILLIC", "GREEK")):
        return ""
    spelled = letter.split(" WITH ")[0].lower()
    spelled = spelled.split()[-1] if " " in spelled else spelled
    # Names of consonants carry a vowel that is not said: "CYRILLIC SMALL LETTER EN", "GREEK SMALL LETTER RHO".
    spelled = _GREEK.get(spelled, spelled) if script.startswith("GREEK") else _CYRILLIC.get(spelled, spelled)
    return spelled if "SMALL" in script else spelled.capitalize()


_CYRILLIC = {
    **{
        "be": "b",
        "ve": "v",
        "ghe": "g",
        "de": "d",
        "ie": "e",
        "io": "yo",
        "zhe": "zh",
        "ze": "z",
        "ka": "k",
        "el": "l",
    },
    **{
        "em": "m",
        "en": "n",
        "pe": "p",
        "er": "r",
        "es": "s",
        "te": "t",
        "ef": "f",
        "ha": "kh",
        "tse": "ts",
        "che": "ch",
    },
    **{"sha": "sh", "shcha": "shch", "sign": "", "yeru": "y"},
}
_GREEK = {
    **{"alpha": "a", "beta": "v", "gamma": "g", "delta": "d", "epsilon": "e", "zeta": "z", "eta": "i", "theta": "th"},
    **{"iota": "i", "kappa": "k", "lamda": "l", "mu": "m", "nu": "n", "xi": "x", "omicron": "o", "pi": "p", "rho": "r"},
    **{"sigma": "s", "tau": "t", "upsilon": "y", "phi": "f", "chi": "ch", "psi": "ps", "omega": "o"},
}


def measure(text: str, scale: float, thickness: int) -> tuple[int, int, int]:
    """Width, height above the baseline and depth below it, in pixels."""
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, thickness)
    return int(width), int(height), int(baseline)


def shorten(text: str, width: int, scale: float, thickness: int, *, tail: str = "") -> str:
    """`text + tail`, with the end of `text` replaced by dots when it is wider than `width` pixels."""
    if measure(text + tail, scale, thickness)[0] <= width:
        return text + tail
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = measure(text[:middle].rstrip() + ".." + tail, scale, thickness)[0] <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return (text[:low].rstrip() + ".." if low else "") + tail


def write(canvas: np.ndarray, text: str, place: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    """Draw a line of text with its baseline's start at `place`."""
    cv2.putText(canvas, text, place, FONT, scale, colour, stroke(scale), cv2.LINE_AA)


def stroke(scale: float) -> int:
    """Thickness that suits a font scale."""
    return max(1, round(scale * 2))
