"""Words for what people do and hold, for the pack's composer, which speaks of clothes and places only.

`sport_people.csv` says of people cut out of sports photos what they do, what they hold and whether they wear a top;
`cut_out_people.py` puts it into their records. People of the pack itself stand or walk, and hold nothing of that kind,
unless `looks.csv` says otherwise.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

Fact = dict[str, Any]
Person = dict[str, Any]
ACTIONS = {
    "standing": ("standing",),
    "walking": ("walking",),
    "running": ("running",),
    "jumping": ("jumping", "jumping", "leaping", "in the air"),
    "crouching": ("crouching", "squatting"),
    "sitting": ("sitting", "seated"),
    "kneeling": ("kneeling",),
    "bending": ("bending over", "leaning forward"),
    "lunging": ("stretching", "in a lunge"),
    "kicking": ("kicking",),
    "throwing": ("throwing",),
    "catching": ("catching",),
    "upside-down": ("upside down",),
    "hanging": ("hanging",),
    "climbing": ("climbing",),
    "lying": ("lying down",),
    "dancing": ("doing gymnastics", "dancing"),
}
"""What somebody does -> words for it."""
ALIKE = (
    {"standing", "walking"},
    {"walking", "running", "lunging", "kicking"},
    {"running", "jumping", "kicking", "throwing", "catching", "dancing"},
    {"crouching", "sitting", "kneeling", "bending", "lunging"},
    {"sitting", "riding"},
    {"hanging", "climbing", "jumping"},
    {"standing", "dancing", "throwing", "swinging", "catching", "riding"},
    {"running", "swinging", "throwing", "lunging"},
)
"""What one might take for each other."""
OBJECTS = {
    "racket": ("a racket", "a tennis racket"),
    "ball": ("a ball",),
    "bat": ("a bat", "a baseball bat"),
    "skateboard": ("a skateboard",),
    "bicycle": ("a bike", "a bicycle"),
    "skis": ("skis",),
    "skates": ("skates",),
    "barbell": ("a barbell", "weights"),
    "javelin": ("a javelin",),
    "stick": ("a stick",),
    "rope": ("a rope",),
    "phone": ("a phone", "a cell phone", "a mobile phone"),
    "cup": ("a cup", "a cup of coffee", "a drink"),
    "umbrella": ("an umbrella",),
    "camera": ("a camera",),
    "book": ("a book", "papers"),
}
"""What somebody holds or rides -> words for it."""
AT_EASE = ("standing", "walking")
"""What people of the pack do."""
WORD = 1.0
"""Weight of such a fact among others."""


def alike(first: str, second: str) -> bool:
    """Whether one action might be taken for the other."""
    return first == second or any({first, second} <= group for group in ALIKE)


def sport_facts(person: Person) -> list[Fact]:
    """What can be seen of a person of a scene beyond clothes, as the composer's facts."""
    record, seen = person["rec"], person["K"][:, 2] == 2
    body, legs = seen[5:7].any() and seen[11:13].any(), seen[13:15].any()
    told = []
    if body and legs and record.get("action") in ACTIONS:
        told.append({"kind": "action", "g": {"name": record["action"]}, "part": "action", "w": WORD})
    if seen[9:11].any() and legs and record.get("object") in OBJECTS:
        told.append({"kind": "object", "g": {"name": record["object"]}, "part": "object", "w": WORD})
    if seen[5:7].all() and record.get("top") == "bare":
        told.append({"kind": "bare", "g": {}, "part": "upper", "w": WORD})
    return told


def might_fit(fact: Fact, person: Person) -> bool:
    """Whether such a fact might also be said of somebody; what is unknown counts as yes."""
    record = person["rec"]
    of_pack = record["source"] == "ccp"
    if fact["kind"] == "bare":
        return not of_pack and record.get("top") in (None, "?", "bare")
    known = record.get(fact["kind"])
    if known in (None, "?"):
        return not of_pack or (fact["kind"] == "action" and any(alike(fact["g"]["name"], own) for own in AT_EASE))
    return alike(fact["g"]["name"], known) if fact["kind"] == "action" else fact["g"]["name"] == known


def install(compose: ModuleType) -> None:
    """Teach the composer these facts."""
    facts, fits, phrase, caption = compose.facts, compose.fits, compose.phrase, compose.caption
    compose.VERBS[""] = [""]  # nothing stands between "man" and "jumping"
    doing = "|".join(sorted({word for words in ACTIONS.values() for word in words}, key=len, reverse=True))

    def all_facts(person: Person) -> list[Fact]:
        return [*facts(person), *sport_facts(person)]

    def all_fits(fact: Fact, person: Person) -> bool:
        return might_fit(fact, person) if fact["kind"] in ("action", "object", "bare") else fits(fact, person)

    def all_phrases(fact: Fact, rng: Any) -> tuple[str, str, str]:
        if fact["kind"] == "bare":
            return "no shirt", "no shirt", "with"
        if fact["kind"] not in ("action", "object"):
            return phrase(fact, rng)
        word = compose.pick(rng, (ACTIONS | OBJECTS)[fact["g"]["name"]])
        bare = re.sub("^an? ", "", word)
        return (word, word, "") if fact["kind"] == "action" else (word, bare, "carry")

    def tidy(*arguments: Any) -> str | None:
        text = caption(*arguments)
        return text and re.sub(f" with ({doing})", r" \1", " ".join(text.split()))

    compose.facts, compose.fits, compose.phrase, compose.caption = all_facts, all_fits, all_phrases, tidy
