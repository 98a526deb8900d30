"""Captions of people in photographs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def module(tool):
    return tool("photo_words")


@pytest.fixture(scope="module")
def table(tool):
    return list(tool("cut_out_people").read_labels().values())


def looks(**changes):
    """A man in a red shirt and black trousers, of whom everything is known."""
    known = {"gender": "man", "head": "none", "headcolour": "", "top": "shirt", "topcolour": "red", "topcolour2": ""}
    more = {"lower": "pants", "lowercolour": "black", "hair": "black", "glasses": "none", "action": "standing"}
    return known | more | {"view": "front"} | changes


def told(module, people, at=0, side=None, seeds=60):
    return {text for seed in range(seeds) for text in module.captions(people, at, side, 3, np.random.default_rng(seed))}


def words(texts):
    return {word for text in texts for word in text.split()}


def test_what_two_people_share_tells_neither_apart(module):
    woman = looks(gender="woman")
    found = told(module, [looks(), woman])
    assert found and all({"man", "guy"} & set(text.split()) for text in found)


def test_alone_somebody_is_anything_that_is_known(module):
    found = words(told(module, [looks(head="cap", headcolour="white")]))
    assert {"man", "person", "red", "black", "cap", "standing"} <= found
    assert not {"woman", "boy", "sunglasses", "blond", "behind"} & found


@pytest.mark.parametrize(
    ("unknown", "word"),
    [
        ({"gender": "?"}, "man"),
        ({"topcolour": "?"}, "shirt"),
        ({"hair": "?"}, "hair"),
        ({"action": "?"}, "standing"),
    ],
)
def test_what_is_unknown_of_somebody_else_might_be_anything(module, unknown, word):
    other = looks(gender="woman", topcolour="blue", lowercolour="white", hair="blond", action="jumping")
    known = [*module.noun_facts(looks()), *module.facts(looks())]
    fact = next(fact for fact in known if any(word in phrase.split() for phrase in fact.phrases))
    assert not fact.fits(other) and fact.fits(other | unknown)


def test_colours_that_are_called_by_each_others_name_tell_nobody_apart(module):
    assert "red" in words(told(module, [looks(), looks(topcolour="white")]))
    assert not any(text.endswith("red") for text in told(module, [looks(), looks(topcolour="pink")]))


def test_a_place_tells_apart_who_looks_the_same(module):
    found = told(module, [looks(), looks()], side="left")
    assert found and all("left" in text.split() for text in found)
    assert not told(module, [looks(), looks()])


@given(seeds)
def test_captions_for_nobody_name_what_nobody_is(module, seed):
    people = [looks(), looks(gender="boy", topcolour="orange")]
    strangers = [looks(gender="woman", topcolour="green", head="cap", headcolour="blue", view="back")]
    text = module.absent_caption(people, strangers, np.random.default_rng(seed))
    assert text is None or {"woman", "lady", "green", "cap", "hat", "behind", "away", "back"} & set(text.split())


def test_nothing_is_absent_where_everything_is_unknown(module):
    unknown = {key: "?" for key in looks()}
    assert module.absent_caption([unknown], [looks()], np.random.default_rng(0)) is None


def test_every_row_of_the_table_can_be_told(module, table):
    rng = np.random.default_rng(0)
    texts = [text for row in table for text in module.captions([row], 0, "left", 3, rng)]
    assert len(texts) > 2 * len(table)
    assert all("?" not in text and "  " not in text and text == text.strip() for text in texts)


@pytest.mark.parametrize(
    ("plain", "introduced"),
    [("man", "a man"), ("athlete", "an athlete"), ("orange shirt", "an orange shirt"), ("one in red", "a one in red")],
)
def test_articles_fit_the_sound(module, plain, introduced):
    assert module.with_article(plain) == introduced
