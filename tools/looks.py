"""Words for patterns, sleeves, ties, hair and age, for the pack's composer, which speaks of plain colours only.

`looks.csv` says them of the pack's people and of those cut out of its sports photos, by eye, and what people of the
pack do and hold as well. A field may be ?; who is not listed might be anything.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from types import ModuleType
from typing import Any

Fact = dict[str, Any]
Person = dict[str, Any]
TABLE = Path(__file__).with_suffix(".csv")
WORD = 0.7
"""Weight of such a fact among others."""
ABSENT = 0.25
"""Share of the captions for nobody that speak of such things."""
PATTERNS = {
    "striped": ("striped",),
    "checked": ("checked", "checkered", "plaid"),
    "floral": ("floral", "flowered", "flower print"),
    "dotted": ("dotted", "polka dot"),
    "animal": ("animal print", "patterned"),
    "camouflage": ("camouflage",),
    "printed": ("patterned", "printed"),
    "graphic": ("graphic", "printed"),
    "lettering": ("printed",),
    "number": (),
}
"""Pattern of a garment -> words for it; a number is said otherwise."""
PARTS = {
    "lower": ("skirt", "trousers", "shorts", "leggings"),
    "scarf": ("scarf",),
    "bag": ("bag",),
    "hat": ("hat",),
    "feet": ("shoes", "socks"),
}
"""Part of the composer -> garments of the table; all others are worn on the torso."""
WORDS = {
    "sleeves": {"none": ("a sleeveless top", "bare arms"), "short": ("short sleeves",), "long": ("long sleeves",)},
    "style": {
        "bald": ("a bald head",),
        "balding": ("a bald head", "a receding hairline"),
        "short": ("short hair",),
        "long": ("long hair",),
        "ponytail": ("a ponytail",),
        "bun": ("a bun", "hair tied up"),
    },
    "age": {"old": ("white hair and wrinkles",)},
}
"""Field of the table -> value -> words; other values are not spoken of."""
ALIKE = ({"bald", "balding"}, {"balding", "short"}, {"long", "ponytail"}, {"ponytail", "bun", "short"})
"""Values that one might take for each other, beside `covered`, which might be any."""
ADJECTIVES = {"a bald head": ("bald", "bald", "bald-headed"), "white hair and wrinkles": ("old", "older", "elderly")}
"""What is better said before the noun."""
RARE = ("none", "bald", "balding", "ponytail", "bun", "old")
"""Values worth saying more often than how long sleeves and hair are."""
KINDS = ("pattern", "tie", *WORDS)
PART_OF = {"sleeves": "upper", "style": "hair", "age": "hair"}
"""Field of the table -> what must be seen."""


def read(path: Path = TABLE) -> dict[str, dict[str, Any]]:
    """The table by id: `patterns` as a list of (pattern, garment), None if unknown; all other fields are words."""
    with path.open(newline="") as file:
        rows = {row["id"]: dict(row) for row in csv.DictReader(file)}
    for row in rows.values():
        told = row["patterns"]
        row["patterns"] = (
            None if told == "?" else [] if told == "plain" else [tuple(t.split(" ", 1)) for t in told.split("+")]
        )
    return rows


def of(record: dict[str, Any], table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A cut-out's row, empty if there is none.

    `dress_people.py` appends a number to the id of the person it changes, and may have changed hat and bag.
    """
    if row := table.get(record["id"]):
        return row
    row = table.get(record["id"].rsplit("_", 1)[0], {})
    kept = [told for told in row.get("patterns") or [] if part(told[1]) not in ("hat", "bag")]
    return row and {**row, "patterns": kept if row["patterns"] is not None else None}


def know(record: dict[str, Any], look: dict[str, Any]) -> dict[str, Any]:
    """A cut-out's record with its row, and with what that says of actions and things for `more_words.py`."""
    told = {"action": look.get("pose", "?"), "object": look.get("holds", "?")} if look else {}
    return {**{key: "?" if value == "other" else value for key, value in told.items()}, **record, "look": look}


def part(garment: str) -> str:
    """The composer's part of a garment."""
    return next((name for name, garments in PARTS.items() if garment in garments), "upper")


def seen(person: Person) -> set[str]:
    """The parts of a person of a scene that can be judged."""
    joints = person["K"][:, 2] == 2
    sight = {
        "upper": joints[5:7].any() and joints[11:13].any(),
        "lower": joints[13:15].any() and joints[11:15].sum() >= 2,
        "scarf": joints[5:7].any() and joints[:3].any(),
        "hat": joints[:3].any(),
        "bag": person["bag_seen"],
        "feet": joints[15:17].any() and person["feet_in"],
        "hair": joints[:3].any() and not person["rec"]["hat"],
    }
    return {name for name, is_seen in sight.items() if is_seen}


def facts(person: Person) -> list[Fact]:
    """What the table says of somebody and a picture shows, as the composer's facts."""
    look, sight = person["rec"].get("look") or {}, seen(person)
    told = [
        {"kind": "pattern", "g": {"name": pattern, "garment": garment}, "part": part(garment), "w": WORD}
        for pattern, garment in look.get("patterns") or []
        if part(garment) in sight and pattern in PATTERNS
    ]
    if look.get("tie", "?") not in ("?", "none") and "upper" in sight:
        told.append({"kind": "tie", "g": {"name": look["tie"]}, "part": "tie", "w": WORD})
    for field, words in WORDS.items():
        bare = field == "sleeves" and person["rec"].get("top") == "bare"
        if look.get(field) in words and PART_OF[field] in sight and not bare:
            weight = WORD if look[field] in RARE else WORD / 4
            told.append({"kind": field, "g": {"name": look[field]}, "part": field, "w": weight})
    return told


def fits(fact: Fact, person: Person) -> bool:
    """Whether such a fact might also be said of somebody; what is unknown counts as yes."""
    look, name = person["rec"].get("look") or {}, fact["g"]["name"]
    if fact["kind"] == "pattern":
        worn = look.get("patterns")
        if worn is None:
            return True
        near = ("striped", "checked") if name in ("striped", "checked") else set(PATTERNS) - {"striped", "checked"}
        return any(pattern in near for pattern, _ in worn)
    own = look.get("tie" if fact["kind"] == "tie" else fact["kind"]) or "?"
    if fact["kind"] == "tie":
        return own != "none"
    return own in (name, "?", "covered", "teen") or any({name, own} <= group for group in ALIKE)


def phrase(compose: ModuleType, fact: Fact, rng: Any) -> tuple[str, str, str]:
    """A fact in words, as the composer's `phrase`: with an article, without, and the group of its verb."""
    name = fact["g"]["name"]
    if fact["kind"] == "tie":
        word = compose.pick(rng, ("bow tie",) if name == "bow" else (f"{name} tie", f"{name} tie", "tie"))
        return compose.article(word), word, "with"
    if fact["kind"] == "pattern":
        if name == "number":
            return "a number on the shirt", "number on the shirt", "with"
        word = f"{compose.pick(rng, PATTERNS[name])} {fact['g']['garment']}"
        return compose.article(word), word, {"bag": "carry", "lower": "in", "upper": "in"}.get(fact["part"], "on")
    word = compose.pick(rng, WORDS[fact["kind"]][name])
    return word, re.sub("^an? ", "", word), "with"


def before_noun(text: str, compose: ModuleType, rng: Any) -> str:
    """Adjectives where they belong: "the man with a bald head" is "the bald man"."""
    for said, adjectives in ADJECTIVES.items():
        text = re.sub(rf"\b(\w+) with {said}", rf"{compose.pick(rng, adjectives)} \1", text)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def install(compose: ModuleType) -> None:
    """Teach the composer these facts."""
    table = read()
    old = {name: getattr(compose, name) for name in ("facts", "fits", "phrase", "caption", "absent", "render")}

    def render(record: dict[str, Any], *rest: Any) -> Any:
        return old["render"](know(record, of(record, table)), *rest)

    def absent(people: list[Person], cuts: list[dict[str, Any]], rng: Any) -> str | None:
        if rng.random() >= ABSENT:
            return old["absent"](people, cuts, rng)  # type: ignore[no-any-return]
        record = compose.pick(rng, cuts)
        whole = {
            "rec": know(record, of(record, table)),
            "K": compose.np.full((17, 3), 2),
            "bag_seen": True,
            "feet_in": True,
        }
        told = [fact for fact in compose.facts(whole) if fact["kind"] in (*KINDS, "action", "object", "bare")]
        if not told:
            return None
        fact, noun = compose.pick(rng, told), compose.noun(record, rng)
        if any(compose.could_be(noun, person["rec"]) and compose.fits(fact, person) for person in people):
            return None
        the = compose.pick(rng, ["the ", "", compose.article(noun)[: -len(noun)]])
        text = compose.say(rng, noun, the, fact, bare=False)
        return before_noun(" ".join(text.split()), compose, rng)

    def caption(*arguments: Any) -> str | None:
        text = old["caption"](*arguments)
        return text and before_noun(text, compose, arguments[3])

    compose.facts = lambda person: [*old["facts"](person), *facts(person)]
    compose.fits = lambda fact, person: (fits if fact["kind"] in KINDS else old["fits"])(fact, person)
    compose.phrase = lambda fact, rng: phrase(compose, fact, rng) if fact["kind"] in KINDS else old["phrase"](fact, rng)
    compose.caption, compose.absent, compose.render = caption, absent, render
