"""What captions say must stay true under augmentation."""

import re

import numpy as np
import pytest

from humar_edge.data.captions import is_relational, mirror, paraphrase
from humar_edge.data.synonyms import ASIDES


@pytest.mark.parametrize(
    ("caption", "mirrored"),
    [
        ("man on the left", "man on the right"),
        ("Left woman", "Right woman"),
        ("LEFT", "RIGHT"),
        ("leftmost girl, right of the bag", "rightmost girl, left of the bag"),
        ("bright copyright woman in red", "bright copyright woman in red"),
    ],
)
def test_mirror_swaps_whole_words_and_keeps_their_case(caption: str, mirrored: str) -> None:
    assert mirror(caption) == mirrored
    assert mirror(mirrored) == caption


@pytest.mark.parametrize("caption", ["second from left", "man behind the woman in red", "the only boy", "far right"])
def test_captions_about_places_and_others_are_relational(caption: str) -> None:
    assert is_relational(caption)


@pytest.mark.parametrize("caption", ["man in red", "lady with a bright leftover coat", "person wearing black shoes"])
def test_captions_about_looks_are_not(caption: str) -> None:
    assert not is_relational(caption)


def test_paraphrases_keep_colour_side_and_kind_of_person() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = paraphrase("The woman who is wearing a red t-shirt on the left.", rng).lower()
        assert "red" in text and "left" in text and "right" not in text
        assert any(word in text for word in ("woman", "female", "lady", "girl"))
        assert not {"man", "male", "guy"} & set(text.split())


def test_paraphrases_differ() -> None:
    rng = np.random.default_rng(1)
    assert len({paraphrase("the man wearing navy trousers", rng) for _ in range(50)}) > 5


def test_a_person_may_be_called_by_any_role_but_a_woman_may_not() -> None:
    rng = np.random.default_rng(2)
    said = {paraphrase("the person in red", rng).lower() for _ in range(300)}
    asides = "|".join(ASIDES)
    assert any("player in red" in text for text in said)
    assert all(re.search(rf" in (bright )?red( ({asides}))?$", text) for text in said)
    assert not any("player" in paraphrase("the woman in red", rng).lower() for _ in range(300))


def test_what_is_said_beside_does_not_replace_anything() -> None:
    rng = np.random.default_rng(3)
    said = {paraphrase("the man in black", rng).lower() for _ in range(400)}
    assert any(text.endswith(" black by the wall") for text in said)
    assert all(" black" in text for text in said)


@pytest.mark.parametrize("side", ["left", "right"])
def test_no_other_words_for_a_side_mean_the_other(side: str) -> None:
    rng, other = np.random.default_rng(4), {"left": "right", "right": "left"}[side]
    for caption in (f"man on the {side}", f"boy on the far {side}", f"{side}most person in a blazer"):
        said = {paraphrase(caption, rng).lower() for _ in range(200)}
        assert all(side in text and other not in text for text in said)
        assert all(mirror(mirror(text)) == text and other in mirror(text) for text in said)
