from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from humar_edge.data.synth import palette, traits
from humar_edge.data.synth.captions import caption_for, caption_for_nobody, wording
from humar_edge.data.synth.descriptions import (
    POSITIONS,
    Description,
    Relation,
    fits_nobody,
    singled_out,
    verdicts,
)
from humar_edge.data.synth.looks import Looks
from humar_edge.data.synth.traits import Verdict, article

EVERYTHING = frozenset({"top", "jacket", "bottom", "hair", "hat", "shoe"})
ADAM = Looks(
    sex="m", age="adult", upper="red", upper_second="", top_kind="shirt", pattern="plain", jacket="", jacket_kind="",
    lower="blue", lower_kind="jeans", hair="black", hair_style="short", beard=False, hat="", shoe="white",
    action="standing", back=0.0, shown=EVERYTHING, legs=True, hands=True, face=True, sure=True,
    x=0.2, left=0.12, right=0.28, distance=4.0,
)  # fmt: skip


def person(x: float, **changes) -> Looks:
    return replace(ADAM, x=x, left=x - 0.08, right=x + 0.08, **changes)


EVE = person(
    0.5, sex="f", upper="blue", lower="yellow", lower_kind="skirt", hair="blond", hair_style="long", action="waving"
)
KIM = person(0.8, sex="", upper="green", lower="black", lower_kind="shorts", distance=7.0)
PEOPLE = {0: ADAM, 1: EVE, 2: KIM}
MAN, WOMAN, ANYBODY = traits.noun("m"), traits.noun("f"), traits.noun("")


def meant(description: Description, people=PEOPLE) -> int | None:
    return singled_out(verdicts(description, people))


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("orange shirt", "an orange shirt"),
        ("red shirt", "a red shirt"),
        ("blue jeans", "blue jeans"),
        ("grey shorts", "grey shorts"),
        ("adult", "an adult"),
    ],
)
def test_articles(phrase: str, said: str):
    assert article(phrase) == said


def test_look_alike_colours_are_symmetric_and_known():
    for table in (palette.ALIKE, palette.HAIR_ALIKE):
        for colour, others in table.items():
            assert colour not in others
            assert all(colour in table[other] for other in others)
    assert set(palette.ALIKE) == set(palette.CLOTH) == set(palette.TOP_WEIGHTS)


def test_clothes_single_out_their_wearer():
    assert meant(Description(MAN, (traits.upper("red", "shirt"),))) == 0
    assert meant(Description(ANYBODY, (traits.lower("yellow", "skirt"),))) == 1
    assert meant(Description(ANYBODY, (traits.in_colour("green"),))) == 2


def test_a_colour_that_looks_alike_makes_a_caption_ambiguous():
    people = {0: ADAM, 1: person(0.5, upper="orange")}
    description = Description(ANYBODY, (traits.upper("red", "shirt"),))
    assert verdicts(description, people) == {0: Verdict.YES, 1: Verdict.MAYBE}
    assert meant(description, people) is None


def test_an_unclear_sex_counts_as_a_possible_match():
    fits = verdicts(Description(MAN), PEOPLE)
    assert fits == {0: Verdict.YES, 1: Verdict.NO, 2: Verdict.MAYBE}


def test_hidden_garments_are_not_talked_about():
    hidden = person(0.2, shown=frozenset({"hair"}))
    assert traits.upper("red", "shirt").test(hidden) == Verdict.MAYBE
    assert not [t for t in traits.traits_of(hidden) if t.family in ("upper", "lower", "shoes")]


def test_somebody_hardly_visible_is_never_meant_but_may_confuse():
    people = {0: ADAM, 1: person(0.5, sure=False)}
    assert meant(Description(MAN, (traits.upper("red", "shirt"),)), people) is None
    assert meant(Description(MAN), {1: person(0.5, sure=False)}) is None


@pytest.mark.parametrize(
    ("position", "index"),
    [
        ("left", 0),
        ("right", 2),
        ("leftmost", 0),
        ("rightmost", 2),
        ("middle", 1),
        ("second from left", 1),
        ("furthest", 2),
    ],
)
def test_positions(position: str, index: int):
    assert meant(Description(ANYBODY, (), position)) == index


def test_positions_need_room():
    close = {0: person(0.45), 1: person(0.48), 2: person(0.51)}
    for position in POSITIONS:
        assert meant(Description(ANYBODY, (), position), close) is None


def test_a_position_counts_among_those_who_fit():
    people = {0: EVE, 1: person(0.3, upper="red"), 2: person(0.75, upper="red")}
    assert meant(Description(MAN, (traits.in_colour("red"),), "right"), people) == 2
    assert fits_nobody(verdicts(Description(WOMAN, (), "left"), {0: person(0.8, sex="f")}))


def test_relations():
    eve = Description(WOMAN, (traits.upper("blue", "shirt"),))
    assert meant(Description(ANYBODY, (), "", Relation("left of", eve))) == 0
    assert meant(Description(ANYBODY, (), "", Relation("right of", eve))) == 2
    behind = {0: EVE, 1: person(0.52, distance=6.0), 2: person(0.9)}
    assert meant(Description(MAN, (), "", Relation("behind", eve)), behind) == 1
    assert meant(Description(ANYBODY, (), "", Relation("in front of", eve)), behind) is None
    vague = Description(ANYBODY)
    assert meant(Description(MAN, (), "", Relation("left of", vague))) is None


def crowd(rng: np.random.Generator) -> dict[int, Looks]:
    """People with random features, some of them alike."""

    def pick(items):
        return list(items)[int(rng.integers(len(items)))]

    return {
        i: person(
            float(rng.uniform(0.05, 0.95)), sex=pick("mf "[:3]).strip(), age=pick(("adult", "adult", "child", "")),
            upper=pick(palette.CLOTH), lower=pick(palette.CLOTH), lower_kind=pick(("trousers", "shorts", "skirt")),
            hair=pick(palette.HAIR), action=pick(traits.ACTION_WORDS), hat=pick(("", "", "red", "blue")),
            distance=float(rng.uniform(3, 8)), pattern=pick(("plain", "checks", "logo")), sure=bool(rng.random() < 0.9),
        )
        for i in range(int(rng.integers(1, 6)))
    }  # fmt: skip


def test_captions_read_well_and_exist_for_nearly_everybody():
    rng = np.random.default_rng(1)
    asked = found = 0
    for _ in range(60):
        people = crowd(rng)
        for i, who in people.items():
            if not who.sure:
                continue
            asked += 1
            text = caption_for(rng, i, people)
            if text is None:
                continue
            found += 1
            words = f" {text.lower().rstrip('.')} "
            assert "  " not in words.strip() and words == words.replace(" a o", " ! o").replace(" a a", " ! a")
            assert not any(
                f" {a} {plural} " in words for a in ("a", "an") for plural in ("trousers", "jeans", "shorts")
            )
    assert found > 0.9 * asked


def test_colours_in_captions_for_one_person_are_worn_by_that_person():
    rng = np.random.default_rng(2)
    for _ in range(200):
        text = caption_for(rng, 0, {0: ADAM})
        assert text is not None
        for colour in ("green", "yellow", "purple", "pink", "orange"):
            assert colour not in text


def test_captions_for_nobody_name_what_is_not_there():
    rng = np.random.default_rng(3)
    texts = [caption_for_nobody(rng, {0: ADAM}) for _ in range(100)]
    assert sum(text is not None for text in texts) > 90
    for text in texts:
        assert text is None or text.lower().rstrip(".") not in ("the man", "man", "a man", "the person", "person")


def test_wording_of_two_garments():
    description = Description(MAN, (traits.lower("blue", "jeans"), traits.upper("red", "shirt")))
    texts = {wording(np.random.default_rng(seed), description) for seed in range(40)}
    assert any(text.endswith("in a red shirt and blue jeans") for text in texts)
    assert all("jeans and" not in text for text in texts)  # the top comes first
