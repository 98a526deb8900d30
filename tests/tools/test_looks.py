"""Words for patterns, sleeves, ties, hair and age, on a composer that speaks of nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from composed import silent_composer


@pytest.fixture(scope="module")
def module(tool):
    return tool("looks")


@pytest.fixture
def compose(module):
    """The composer's parts that are extended; its caption is whatever is handed to it."""
    made = silent_composer(
        caption=lambda text, people, width, rng: text,
        absent=lambda people, cuts, rng: "man in red",
        render=lambda record, *rest: record,
        could_be=lambda noun, record: True,
        noun=lambda record, rng: "man",
        say=lambda rng, noun, the, fact, bare: f"{the}{noun}  with {made.phrase(fact, rng)[0]}",
        article=lambda text: ("an " if text[0] in "aeiou" else "a ") + text,
        np=np,
    )
    module.install(made)
    return made


def person(hidden=(), hat=False, **look):
    joints = np.full((17, 3), 2.0)
    joints[list(hidden), 2] = 1
    return {"rec": {"id": "x", "hat": hat, "look": look}, "K": joints, "bag_seen": True, "feet_in": True}


def test_the_table_speaks_only_words_that_are_known(module):
    table = module.read()
    garments = {garment for row in table.values() for _, garment in row["patterns"] or []}
    assert len(table) > 1700 and {"shirt", "dress", "scarf"} <= garments
    assert {pattern for row in table.values() for pattern, _ in row["patterns"] or []} <= set(module.PATTERNS)
    for field, words in module.WORDS.items():
        assert set(words) <= {row[field] for row in table.values()}


def test_a_changed_cut_out_looks_like_the_person_it_was_made_of(module):
    table = {"ccp_0001": {"style": "bun", "patterns": [("striped", "shirt"), ("printed", "bag")]}}
    assert module.of({"id": "ccp_0001"}, table) == table["ccp_0001"]
    assert module.of({"id": "ccp_0001_3"}, table) == {"style": "bun", "patterns": [("striped", "shirt")]}
    assert module.of({"id": "ccp_0002_3"}, table) == {}


def test_what_is_seen_of_a_person_is_told(compose):
    told = compose.facts(person(patterns=[("striped", "shirt")], tie="red", style="bald", sleeves="none", age="old"))
    assert [(fact["kind"], fact["g"]["name"], fact["part"]) for fact in told] == [
        ("pattern", "striped", "upper"),
        ("tie", "red", "tie"),
        ("sleeves", "none", "sleeves"),
        ("style", "bald", "style"),
        ("age", "old", "age"),
    ]


@pytest.mark.parametrize(
    ("hidden", "look"),
    [
        ((11, 12), {"patterns": [("striped", "shirt")]}),
        ((13, 14), {"patterns": [("floral", "skirt")]}),
        ((5, 6), {"tie": "red"}),
        ((0, 1, 2), {"style": "bald"}),
    ],
)
def test_what_is_hidden_is_not(compose, hidden, look):
    assert compose.facts(person(**look)) and not compose.facts(person(hidden, **look))


def test_hair_under_a_hat_is_not_spoken_of(compose):
    assert not compose.facts(person(hat=True, style="bald"))


@pytest.mark.parametrize(
    ("mine", "other", "might"),
    [
        ({"patterns": [("striped", "shirt")]}, {"patterns": [("checked", "coat")]}, True),
        ({"patterns": [("striped", "shirt")]}, {"patterns": [("floral", "coat")]}, False),
        ({"patterns": [("striped", "shirt")]}, {"patterns": []}, False),
        ({"patterns": [("striped", "shirt")]}, {"patterns": None}, True),
        ({"tie": "red"}, {"tie": "blue"}, True),
        ({"tie": "red"}, {"tie": "none"}, False),
        ({"style": "bald"}, {"style": "covered"}, True),
        ({"style": "bald"}, {"style": "long"}, False),
        ({"style": "bald"}, {}, True),
    ],
)
def test_a_fact_fits_others_who_are_alike_or_unknown(compose, mine, other, might):
    (fact,) = compose.facts(person(**mine))
    assert compose.fits(fact, person(**other)) is might


def test_every_fact_has_words(module, compose):
    rng = np.random.default_rng(0)
    looks = [{"patterns": [(name, "shirt")]} for name in module.PATTERNS] + [{"tie": "bow"}, {"tie": "red"}]
    looks += [{field: value} for field, words in module.WORDS.items() for value in words]
    for look in looks:
        (fact,) = compose.facts(person(**look))
        phrase, bare, verb = compose.phrase(fact, rng)
        assert phrase.endswith(bare) and verb in ("in", "on", "with")


def test_adjectives_stand_before_the_noun(compose):
    said = {compose.caption("a man with a bald head", [], 0, np.random.default_rng(seed)) for seed in range(30)}
    assert said == {"a bald man", "a bald-headed man"}
    old = {compose.caption("A woman with white hair and wrinkles", [], 0, np.random.default_rng(s)) for s in range(30)}
    assert "An old woman" in old and "An elderly woman" in old


def test_captions_for_nobody_fit_nobody(module, compose):
    row = {"patterns": [("striped", "shirt")]}
    cuts = [{"id": "y", "hat": False, "source": "ccp"}]
    compose_table = {"y": row}
    module_read, module.read = module.read, lambda: compose_table
    try:
        module.install(compose)
    finally:
        module.read = module_read
    plain, striped = person(patterns=[]), person(patterns=[("striped", "dress")])
    said = {compose.absent([plain], cuts, np.random.default_rng(seed)) for seed in range(60)}
    assert "man in red" in said and any(text and re.search("man with a striped shirt$", text) for text in said)
    assert {compose.absent([striped], cuts, np.random.default_rng(seed)) for seed in range(60)} == {"man in red", None}


def test_records_carry_what_the_table_knows(module):
    row = {"pose": "walking", "holds": "other"}
    record = module.know({"id": "ccp_0001", "source": "ccp"}, row)
    assert record["action"] == "walking" and record["object"] == "?" and record["look"] is row
    assert module.know({"id": "im1", "action": "jumping", "object": "ball"}, row)["action"] == "jumping"
    assert "action" not in module.know({"id": "z"}, {})
