"""What kind of language a caption uses: a relation to others, a position, a colour, or something else."""

from __future__ import annotations

import re

KINDS = ("relation", "position", "colour", "other")
"""From hardest to easiest; a caption belongs to the first that fits."""

_WORDS: dict[str, str] = {
    "relation": (
        r"(?:left|right) (?:side )?of(?! (?:the |this )?(?:picture|image|photo|frame|screen|scene))"
        r"|next to|besides?|in front of|alongside|opposite|between|among|together with|facing"
        r"|behind (?=\w)|by the|near (?!the camera|us)(?=\w)|close to (?!the camera|us)"
        r"|taller|shorter|bigger|smaller|older|younger|leaning on|hugging|(?:talking|listening) to|looking at"
    ),
    "position": (
        r"left(?:most)?|right(?:most)?|middle|cent(?:er|re)|front|back|rear|behind|top|bottom|upper|corner|edge"
        r"|far|farthest|furthest|near(?:est)?|close(?:r|st)?|foreground|background|side"
        r"|first|second|third|fourth|fifth|last|1st|2nd|3rd|[4-9]th"
    ),
    "colour": (
        r"black|white|gr[ae]y|red|orange|yellow|green|blue|navy|purple|violet|pink|brown|beige|tan|maroon|teal"
        r"|turquoise|cyan|magenta|gold(?:en)?|silver|khaki|cream|burgundy|lavender|lilac|olive|mint|blonde?|brunette"
        r"|plaid|striped|stripes?|colou?r(?:ed|ful)?|dark|light"
    ),
}
_PATTERNS = {kind: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for kind, words in _WORDS.items()}


def caption_kind(caption: str) -> str:
    """Kind of a caption by its words: `relation`, `position`, `colour` or `other`.

    Captions often mix kinds; the hardest one counts.

    Example:
        >>> caption_kind("the man in red to the left of the bus")
        'relation'
    """
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(caption)), "other")
