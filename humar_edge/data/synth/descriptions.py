"""Descriptions as predicates: whom of a scene a noun, traits, a position and a relation single out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from .looks import Looks
from .traits import Trait, Verdict

People = Mapping[int, Looks]
Verdicts = dict[int, Verdict]

MARGIN = 0.06
"""Least difference of positions that is plain to see, share of the picture's width."""


@dataclass(frozen=True)
class Relation:
    """Where somebody is with respect to somebody else: a key of RELATIONS and who the other one is."""

    kind: str
    other: Description


@dataclass(frozen=True)
class Description:
    """A noun with traits, a position (key of POSITIONS) among those they fit, and a relation to another person."""

    noun: Trait
    traits: tuple[Trait, ...] = ()
    position: str = ""
    relation: Relation | None = None


def _open(pool: Verdicts) -> Verdicts:
    """No decision: perhaps anybody of the pool."""
    return {i: min(verdict, Verdict.MAYBE) for i, verdict in pool.items()}


def _side(people: People, pool: Verdicts, sign: int, near: float) -> Verdicts:
    """The outermost of the pool towards one side (sign +1 left, -1 right)."""
    order = sorted(pool, key=lambda i: sign * people[i].x)
    first = order[0]
    out = {}
    for i in order:
        gap = sign * (people[i].x - people[first].x)
        out[i] = pool[i] if i == first else min(pool[i], Verdict.MAYBE if gap < near else Verdict.NO)
    inward = sign * (people[first].x - 0.5)  # negative on the side that is asked for
    if inward > 0.08:
        out[first] = Verdict.NO
    elif inward > -0.03:
        out[first] = min(out[first], Verdict.MAYBE)
    return out


def _ordinal(people: People, pool: Verdicts, place: int, need: int) -> Verdicts:
    """The one at a place in order from the left; unsure unless everybody is plain to see and to tell apart."""
    order = sorted(pool, key=lambda i: people[i].x)
    gaps = [people[b].x - people[a].x for a, b in pairwise(order)]
    plain = all(verdict == Verdict.YES for verdict in pool.values()) and min(gaps, default=1.0) > MARGIN
    if len(order) < need or not plain:
        return _open(pool)
    return {i: Verdict.YES if i == order[place] else Verdict.NO for i in order}


def _middle(people: People, pool: Verdicts) -> Verdicts:
    return _ordinal(people, pool, len(pool) // 2, 3) if len(pool) % 2 else _open(pool)


def _depth(people: People, pool: Verdicts, sign: int) -> Verdicts:
    """The nearest (+1) or furthest (-1) of the pool, by a clear factor."""
    order = sorted(pool, key=lambda i: sign * people[i].distance)
    if len(order) < 2:
        return _open(pool)
    first = people[order[0]].distance
    out = {}
    for i in order[1:]:
        ratio = (people[i].distance / first) ** sign
        out[i] = min(pool[i], Verdict.MAYBE if ratio < 1.28 else Verdict.NO)
    out[order[0]] = pool[order[0]]
    return out


POSITIONS: dict[str, Callable[[People, Verdicts], Verdicts]] = {
    "left": lambda people, pool: _side(people, pool, 1, 0.16),
    "right": lambda people, pool: _side(people, pool, -1, 0.16),
    "leftmost": lambda people, pool: _side(people, pool, 1, MARGIN) if len(pool) > 1 else _open(pool),
    "rightmost": lambda people, pool: _side(people, pool, -1, MARGIN) if len(pool) > 1 else _open(pool),
    "middle": _middle,
    "second from left": lambda people, pool: _ordinal(people, pool, 1, 3),
    "second from right": lambda people, pool: _ordinal(people, pool, -2, 3),
    "nearest": lambda people, pool: _depth(people, pool, 1),
    "furthest": lambda people, pool: _depth(people, pool, -1),
}
"""Position -> verdicts among those who fit otherwise (the pool is never empty)."""


def _beside(people: People, other: int, i: int, sign: int) -> Verdict:
    gap = sign * (people[other].x - people[i].x)
    return Verdict.YES if gap > MARGIN else Verdict.MAYBE if gap > -0.03 else Verdict.NO


def _overlap(a: Looks, b: Looks) -> float:
    """Shared width over the narrower width."""
    shared = min(a.right, b.right) - max(a.left, b.left)
    return shared / max(1e-6, min(a.right - a.left, b.right - b.left))


def _before(people: People, other: int, i: int, sign: int) -> Verdict:
    """Behind (+1) or in front of (-1) the other one, as seen by the camera."""
    further = sign * (people[i].distance - people[other].distance)
    if further <= 0.05 or _overlap(people[i], people[other]) < -0.4:
        return Verdict.NO
    return Verdict.YES if further > 0.5 and _overlap(people[i], people[other]) > 0.3 else Verdict.MAYBE


def _next(people: People, other: int, i: int) -> Verdict:
    gaps = {j: abs(people[j].x - people[other].x) for j in people if j != other}
    least = min(gaps.values())
    rivals = [gap for j, gap in gaps.items() if j != i]
    if gaps[i] == least and gaps[i] < 0.4 and all(gap > 1.7 * gaps[i] for gap in rivals):
        return Verdict.YES
    return Verdict.MAYBE if gaps[i] < 1.7 * least else Verdict.NO


RELATIONS: dict[str, Callable[[People, int, int], Verdict]] = {
    "left of": lambda people, other, i: _beside(people, other, i, 1),
    "right of": lambda people, other, i: _beside(people, other, i, -1),
    "behind": lambda people, other, i: _before(people, other, i, 1),
    "in front of": lambda people, other, i: _before(people, other, i, -1),
    "next to": _next,
}
"""Relation -> verdict for person i, given the index of the other one."""


def verdicts(description: Description, people: People) -> Verdicts:
    """Whether the description fits each person; those hardly visible never get more than MAYBE."""
    out = {}
    for i, who in people.items():
        verdict = min(trait.test(who) for trait in (description.noun, *description.traits))
        out[i] = verdict if who.sure else min(verdict, Verdict.MAYBE)
    if description.position:
        pool = {i: verdict for i, verdict in out.items() if verdict}
        placed = POSITIONS[description.position](people, pool) if pool else {}
        out = {i: placed.get(i, Verdict.NO) for i in people}
    if description.relation:
        related = _related(description.relation, people)
        out = {i: min(verdict, related[i]) for i, verdict in out.items()}
    return out


def _related(relation: Relation, people: People) -> Verdicts:
    """Verdicts of the relation alone; with an unclear other person nobody is ruled out or confirmed."""
    fits = verdicts(relation.other, people)
    other = singled_out(fits)
    if other is None:
        unclear = Verdict.MAYBE if any(fits.values()) else Verdict.NO
        return dict.fromkeys(people, unclear)
    test = RELATIONS[relation.kind]
    return {i: Verdict.NO if i == other else test(people, other, i) for i in people}


def singled_out(fits: Verdicts) -> int | None:
    """The one person who fits for sure while nobody else might, else None."""
    possible = [i for i, verdict in fits.items() if verdict]
    return possible[0] if len(possible) == 1 and fits[possible[0]] == Verdict.YES else None


def fits_nobody(fits: Verdicts) -> bool:
    """Whether everybody is ruled out."""
    return not any(fits.values())
