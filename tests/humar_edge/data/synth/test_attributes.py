"""The attributes that annotations carry, against looks written by hand."""

from __future__ import annotations

from dataclasses import replace

from humar_edge.data.synth.attributes import NAMES, describe
from humar_edge.data.synth.looks import Looks

ADAM = Looks(
    sex="m", age="adult", upper="red", upper_second="", top_kind="shirt", pattern="plain", jacket="", jacket_kind="",
    lower="blue", lower_kind="jeans", hair="black", hair_style="short", beard=False, hat="", shoe="white",
    action="standing", back=0.0, shown=frozenset({"top", "bottom", "hair", "shoe"}), legs=True, hands=True, face=True,
    sure=True, x=0.2, left=0.12, right=0.28, distance=4.0,
)  # fmt: skip


def known(who):
    marks = dict(zip(NAMES, describe(who), strict=True))
    return {mark: {name for name, found in marks.items() if found == mark} for mark in "10?"}


def test_what_is_worn_is_true_and_what_is_alike_is_unknown():
    found = known(ADAM)
    assert found["1"] == {"red torso", "blue lower", "white feet", "in red", "black hair"}
    assert {"orange torso", "pink torso", "navy lower", "brown hair"} <= found["?"]
    assert {"green torso", "white lower", "black feet", "blond hair", "hat", "beard", "female", "skirt"} <= found["0"]


def test_what_is_out_of_sight_is_unknown():
    found = known(replace(ADAM, shown=frozenset({"top"}), legs=False))
    assert {"blue lower", "white feet", "black hair"} <= found["?"] and "red torso" in found["1"]


def test_a_jacket_adds_its_colour():
    found = known(replace(ADAM, jacket="yellow", jacket_kind="jacket", shown=ADAM.shown | {"jacket"}))
    assert {"red torso", "yellow torso", "in yellow"} <= found["1"]
