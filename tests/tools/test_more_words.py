"""Words for what people do, on a composer that speaks of nothing."""

from __future__ import annotations

import numpy as np
import pytest
from composed import silent_composer


@pytest.fixture
def module(tool):
    return tool("more_words")


@pytest.fixture
def compose(module):
    """The composer's parts that are extended; its caption is whatever is handed to it."""
    made = silent_composer(caption=lambda text: text, VERBS={})
    module.install(made)
    return made


def person(source="lsp", hidden=(), **record):
    joints = np.full((17, 3), 2.0)
    joints[list(hidden), 2] = 1
    return {"rec": {"source": source, **record}, "K": joints}


def test_what_is_seen_of_a_person_is_told(compose):
    told = compose.facts(person(action="jumping", object="ball", top="bare"))
    assert [(fact["kind"], fact["g"].get("name")) for fact in told] == [
        ("action", "jumping"),
        ("object", "ball"),
        ("bare", None),
    ]


@pytest.mark.parametrize(("hidden", "gone"), [((13, 14), "action"), ((9, 10), "object"), ((5,), "bare")])
def test_what_is_hidden_is_not(compose, hidden, gone):
    told = compose.facts(person(hidden=hidden, action="jumping", object="ball", top="bare"))
    assert gone not in [fact["kind"] for fact in told]


def test_people_of_the_pack_stand_or_walk_and_nobody_else_is_taken_for_sure(compose):
    jumping, standing, ball = (
        compose.facts(person(**known))[0]
        for known in ({"action": "jumping"}, {"action": "standing"}, {"object": "ball"})
    )
    of_pack, unknown = person("ccp"), person(action="?", object="?")
    assert [compose.fits(fact, of_pack) for fact in (jumping, standing, ball)] == [False, True, False]
    assert [compose.fits(fact, unknown) for fact in (jumping, standing, ball)] == [True, True, True]
    assert compose.fits(jumping, person(action="running")) and not compose.fits(jumping, person(action="sitting"))
    assert compose.fits(ball, person(object="ball")) and not compose.fits(ball, person(object="racket"))


def test_no_shirt_fits_whom_one_cannot_see_and_nobody_of_the_pack(compose):
    bare = compose.facts(person(top="bare"))[0]
    tops = ("bare", "?", "shirt")
    assert [compose.fits(bare, person(top=top)) for top in tops] == [True, True, False]
    assert not compose.fits(bare, person("ccp"))


def test_clothes_are_left_to_the_composer(compose):
    colour = {"kind": "colour"}
    assert compose.fits(colour, person("ccp"))
    assert compose.phrase(colour, np.random.default_rng(0)) == ("a red shirt", "red shirt", "in")


def test_every_action_and_object_has_words_and_a_group_that_the_composer_can_sort(module, compose):
    rng = np.random.default_rng(0)
    for kind, table in (("action", module.ACTIONS), ("object", module.OBJECTS)):
        for name in table:
            full, bare, verb = compose.phrase({"kind": kind, "g": {"name": name}}, rng)
            assert full.endswith(bare) and not bare.startswith("a ") and verb in "in on with carry"
    assert compose.phrase({"kind": "bare", "g": {}}, rng) == ("no shirt", "no shirt", "with")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("man  jumping on the left", "man jumping on the left"),
        ("man in a red shirt with jumping", "man in a red shirt jumping"),
        ("man with a ball", "man with a ball"),
        (None, None),
    ],
)
def test_captions_are_tidied(compose, said, meant):
    assert compose.caption(said) == meant
