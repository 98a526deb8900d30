"""Captions: random descriptions that single out one person, or fit nobody, and their wording."""

from __future__ import annotations

import numpy as np

from . import palette, traits
from .descriptions import POSITIONS, RELATIONS, Description, People, Relation, fits_nobody, singled_out, verdicts
from .looks import Looks
from .traits import Trait, article

Rng = np.random.Generator

POSITION_WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "left": (("", "on the left"), ("", "on the left side"), ("left ", "")),
    "right": (("", "on the right"), ("", "on the right side"), ("right ", "")),
    "leftmost": (("leftmost ", ""), ("", "on the far left"), ("", "furthest to the left")),
    "rightmost": (("rightmost ", ""), ("", "on the far right"), ("", "furthest to the right")),
    "middle": (("", "in the middle"), ("middle ", ""), ("", "in the center")),
    "second from left": (("second ", "from the left"), ("", "second from the left")),
    "second from right": (("second ", "from the right"), ("", "second from the right")),
    "nearest": (("closest ", ""), ("", "closest to the camera"), ("", "nearest to the camera")),
    "furthest": (("", "furthest away"), ("", "furthest from the camera"), ("", "in the background")),
}
"""Position -> wordings as (before the noun, at the end)."""

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "behind": ("behind", "standing behind"),
    "in front of": ("in front of",),
    "next to": ("next to", "beside"),
}

FAMILIES = {"one": 0.32, "two": 0.22, "position": 0.14, "both": 0.16, "relation": 0.16}
"""How often captions use one trait, two, a position, a trait and a position, a relation to somebody."""

ADJECTIVES = {"sitting": "sitting", "running": "running", "waving": "waving", "walking": "walking",
              "a beard": "bearded", "crouching": "crouching", "a bald head": "bald",
              "standing": "standing"}  # fmt: skip


def _pick(rng: Rng, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]


def _clause(rng: Rng, trait: Trait, phrase: str) -> str:
    """A trait with its preposition or verb."""
    if trait.role == "colour":
        return f"{_pick(rng, ('in', 'in', 'wearing', 'dressed in'))} {phrase}"
    if trait.role == "wear":
        return f"{_pick(rng, ('in', 'in', 'wearing', 'who is wearing'))} {article(phrase)}"
    if trait.role == "have":
        return f"with {phrase}"
    simple = phrase.startswith(("with ", "seen ")) or rng.random() < 0.7
    return phrase if simple else f"who is {phrase}"


JOINED = {"wear": ("in", "wearing"), "have": ("with",)}
"""Roles of which several are joined by "and" after one of these words."""

ROLE_ORDER = {"colour": 0, "wear": 0, "have": 1, "do": 2}


def _traits_text(rng: Rng, chosen: tuple[Trait, ...]) -> str:
    """All traits: clothes joined by "and", then what one has, then what one does."""
    ordered = sorted(chosen, key=lambda trait: (ROLE_ORDER[trait.role], trait.family != "upper"))
    parts = []
    for role, verbs in JOINED.items():
        same = [trait for trait in ordered if trait.role == role]
        if len(same) > 1:
            said = [_pick(rng, trait.phrases) for trait in same]
            parts.append(
                f"{_pick(rng, verbs)} {' and '.join(article(phrase) if role == 'wear' else phrase for phrase in said)}"
            )
            ordered = [trait for trait in ordered if trait.role != role]
    parts += [_clause(rng, trait, _pick(rng, trait.phrases)) for trait in ordered]
    return " ".join(parts)


def _adjective(rng: Rng, description: Description) -> tuple[str, tuple[Trait, ...]]:
    """Now and then one trait goes before the noun: "sitting man", "bald man"."""
    for trait in description.traits:
        words = [ADJECTIVES[phrase] for phrase in trait.phrases if phrase in ADJECTIVES]
        if words and rng.random() < 0.3:
            return words[0] + " ", tuple(other for other in description.traits if other is not trait)
    return "", description.traits


def wording(rng: Rng, description: Description, *, definite: bool = False) -> str:
    """The description in words.

    Args:
        rng: chooses among synonyms.
        description: what to say.
        definite: begin with "the".
    """
    before, after = _pick_pair(rng, POSITION_WORDS[description.position]) if description.position else ("", "")
    adjective, rest = _adjective(rng, description)
    noun = _pick(rng, description.noun.phrases)
    clauses = _traits_text(rng, rest)
    words = [f"{before}{adjective}{noun}"]
    words += [after, clauses] if after and clauses and rng.random() < 0.35 else [clauses, after]
    if description.relation:
        other = wording(rng, description.relation.other, definite=True)
        words.append(f"{_pick(rng, RELATION_WORDS[description.relation.kind])} {other}")
    text = " ".join(word for word in words if word)
    if definite:
        return f"the {text}"
    bare = description.noun.phrases == ("person",) and len(rest) == 1 and rest[0].role == "wear" and not adjective
    if bare and not description.position and not description.relation and rng.random() < 0.25:
        return _pick(rng, rest[0].phrases)  # "red shirt"
    superlative = before or description.position.endswith(("most", "est"))
    begin = _pick(rng, ("the ", "the ", "")) if superlative else _pick(rng, ("the ", "the ", "", "", "a "))
    return article(text) if begin == "a " else begin + text


def _pick_pair(rng: Rng, items: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    return items[int(rng.integers(len(items)))]


def _written(rng: Rng, text: str) -> str:
    """Now and then as a sentence: a capital and a full stop."""
    return text[0].upper() + text[1:] + "." if rng.random() < 0.08 else text


def _noun(rng: Rng, who: Looks) -> Trait:
    kinds = traits.nouns_for(who)
    return traits.noun(kinds[0] if rng.random() < 0.7 else "")


def _some(rng: Rng, who: Looks, count: int) -> tuple[Trait, ...]:
    """Up to `count` traits of different families."""
    chosen: list[Trait] = []
    found = traits.traits_of(who)
    for index in rng.permutation(len(found)):
        trait = found[int(index)]
        clash = any(trait.family == other.family for other in chosen)
        # "in red" is a wording of its own; it reads badly next to another garment.
        clash = clash or any(
            "colour" in (trait.role, other.role) and "wear" in (trait.role, other.role) for other in chosen
        )
        if not clash:
            chosen.append(trait)
        if len(chosen) == count:
            break
    return tuple(chosen)


def _proposal(rng: Rng, target: int, people: People) -> Description:
    """A description that is true of the target; whether it is unique remains to be checked."""
    who = people[target]
    family = palette.draw(rng, FAMILIES)
    noun = _noun(rng, who)
    position = list(POSITIONS)[int(rng.integers(len(POSITIONS)))]
    if family == "position":
        return Description(noun, (), position)
    if family == "both":
        return Description(noun, _some(rng, who, 1), position)
    others = [i for i in people if i != target and people[i].sure]
    if family == "relation" and others:
        other = others[int(rng.integers(len(others)))]
        kind = list(RELATIONS)[int(rng.integers(len(RELATIONS)))]
        reference = Description(_noun(rng, people[other]), _some(rng, people[other], 1))
        own = _some(rng, who, 1) if rng.random() < 0.25 else ()
        return Description(noun, own, "", Relation(kind, reference))
    return Description(noun, _some(rng, who, 2 if family == "two" else 1))


def caption_for(rng: Rng, target: int, people: People, tries: int = 40) -> str | None:
    """A caption that fits the target and nobody else, or None if none was found.

    Args:
        rng: random generator.
        target: key of the person in `people`.
        people: facts about everybody visible.
        tries: descriptions to try.
    """
    for _ in range(tries):
        description = _proposal(rng, target, people)
        if not description.traits and not description.position and not description.relation and len(people) > 1:
            if len(people) > 1 and rng.random() < 0.5:
                continue
        if singled_out(verdicts(description, people)) == target:
            return _written(rng, wording(rng, description))
    return None


def _random_trait(rng: Rng) -> Trait:
    """A trait of somebody who need not be there."""
    kind = int(rng.integers(6))
    colour = palette.draw(rng, palette.TOP_WEIGHTS)
    if kind == 0:
        return traits.upper(colour, palette.draw(rng, {name: 1.0 for name in traits.TOP_WORDS}))
    if kind == 1:
        return traits.in_colour(colour)
    if kind == 2:
        kind_below = palette.draw(rng, dict.fromkeys(traits.LOWER_WORDS, 1.0))
        return traits.lower("blue" if kind_below == "jeans" else palette.draw(rng, palette.BOTTOM_WEIGHTS), kind_below)
    if kind == 3:
        return traits.hair(palette.draw(rng, dict.fromkeys(palette.HAIR, 1.0)))
    if kind == 4:
        return traits.action(palette.draw(rng, dict.fromkeys(traits.ACTION_WORDS, 1.0)))
    return (traits.hat(colour), traits.dress(colour), traits.beard(), traits.lower_kind("skirt"), traits.bald())[
        int(rng.integers(5))
    ]


def _absent_proposal(rng: Rng, people: People) -> Description:
    """Something plausible that may fit nobody: wrong pairings of what is there, or what is not there at all."""
    seen = [who for who in people.values() if who.sure] or list(people.values())
    one, two = (seen[int(rng.integers(len(seen)))] for _ in range(2))
    noun = traits.noun(palette.draw(rng, {"m": 0.3, "f": 0.3, "child": 0.12, "": 0.28}))
    roll = rng.random()
    if roll < 0.3:  # two people mixed up
        first, second = _some(rng, one, 1), _some(rng, two, 1)
        mixed = first if not first or not second or first[0].family == second[0].family else first + second
        return Description(noun, mixed)
    if roll < 0.8:
        own = _some(rng, one, 1) if rng.random() < 0.3 else ()
        trait = _random_trait(rng)
        extra = tuple(t for t in own if t.family != trait.family and "colour" not in (t.role, trait.role))
        position = palette.draw(rng, {"": 4.0, "left": 1.0, "right": 1.0, "middle": 0.3})
        return Description(noun, (trait, *extra), position)
    if roll < 0.9:
        return Description(noun, (), palette.draw(rng, {"left": 1.0, "right": 1.0, "": 1.0}))
    kind = list(RELATIONS)[int(rng.integers(len(RELATIONS)))]
    reference = Description(_noun(rng, two), (_random_trait(rng),) if rng.random() < 0.5 else _some(rng, two, 1))
    return Description(noun, (), "", Relation(kind, reference))


def caption_for_nobody(rng: Rng, people: People, tries: int = 40) -> str | None:
    """A caption that cannot fit anybody of the scene, or None if none was found."""
    for _ in range(tries):
        description = _absent_proposal(rng, people)
        if fits_nobody(verdicts(description, people)):
            return _written(rng, wording(rng, description))
    return None
