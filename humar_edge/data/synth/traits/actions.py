"""What somebody does."""

from __future__ import annotations

from ..looks import Looks
from .trait import Trait, Verdict, graded

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
        return graded(who.action == name, who.action in ACTION_ALIKE[name], shown)

    return Trait("action", "do", ACTION_WORDS[name], test)
