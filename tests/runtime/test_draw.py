from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from humar_edge.results import Person
from humar_edge.runtime.draw import ACCENTS, CENTRE, LEFT, RIGHT, draw_people, draw_person
from humar_edge.runtime.lettering import measure, printable, shorten, stroke

SIZE = (360, 480)
BOX = np.array([150, 60, 330, 340], dtype=np.float32)


@pytest.fixture
def frame():
    return np.full((*SIZE, 3), 128, dtype=np.uint8)


@pytest.fixture
def person(colour_scene):
    from bundle_factory import POSE

    keypoints = np.concatenate([POSE * [180, 280] + [150, 60], np.full((17, 1), 0.9)], axis=1).astype(np.float32)
    mask = np.zeros(SIZE, dtype=bool)
    mask[80:330, 180:300] = True
    return Person("the man", True, 0.9, BOX, keypoints, SIZE, mask_source=lambda: mask)


def changed(frame, drawn):
    return (frame != drawn).any(axis=2)


def test_sides_have_their_colours_and_the_frame_is_not_touched(frame, person):
    original = frame.copy()
    drawn = person.plot(frame)
    np.testing.assert_array_equal(frame, original)
    for keypoint, colour in ((9, LEFT), (10, RIGHT), (0, CENTRE)):
        x, y = np.round(person.keypoints[keypoint, :2]).astype(int)
        np.testing.assert_array_equal(drawn[y, x], colour)
    assert changed(frame, drawn)[120, 200]  # tinted mask
    assert not changed(frame, drawn)[200, 320]  # inside the box, outside of mask, skeleton and corners


def test_invisible_keypoints_and_their_bones_are_not_drawn(frame, person):
    keypoints = person.keypoints.copy()
    keypoints[:, 2] = 0.29
    drawn = replace(person, keypoints=keypoints, mask_source=None).plot(frame)
    assert not changed(frame, drawn)[110:290, 200:280].any()


def test_not_found_is_a_banner_in_the_corner(frame, person):
    drawn = changed(frame, replace(person, found=False, score=0.1).plot(frame))
    assert drawn[:20].any() and not drawn[60:].any()


@pytest.mark.parametrize("box", [(0, 0, 480, 360), (400, 0, 480, 100), (-0.0, 200, 30, 360), (470, 350, 480, 360)])
def test_the_label_stays_in_the_frame(frame, person, box):
    text = "a person with a very long description " * 5
    bare = replace(
        person, mask_source=None, keypoints=np.zeros((17, 3), np.float32), box_xyxy=np.array(box, np.float32)
    )
    drawn = replace(bare, text=text).plot(frame)
    dark = (drawn.max(axis=2) < 80).sum(axis=1)
    assert dark.max() > 300  # nearly as wide as the frame, and nothing of it cut off by an exception


@pytest.mark.parametrize("found", [True, False], ids=["same box", "banners"])
@pytest.mark.parametrize("top", [60, 2], ids=["above", "below"])
def test_several_labels_do_not_cover_each_other(frame, person, found, top):
    """Six prompts that mean the same person, or nobody: each label adds as many dark rows as the one before."""
    box = np.array([150, top, 330, 200], np.float32)
    bare = replace(person, mask_source=None, keypoints=np.zeros((17, 3), np.float32), box_xyxy=box, found=found)
    areas = []
    for count in (1, 2, 6):
        drawn = draw_people(frame, [replace(bare, text="somebody", score=0.9)] * count)
        areas.append(int((drawn.max(axis=2) < 80).sum()))
    corners = 1500  # of the box, drawn over each other
    assert areas[1] > 1.6 * (areas[0] - corners) and areas[2] > 4.5 * (areas[0] - corners)


def test_everybody_has_a_colour(frame, person):
    drawn = draw_people(frame, [person, replace(person, box_xyxy=BOX - [100, 0, 100, 0])])
    for colour in ACCENTS[:2]:
        assert (drawn == colour).all(axis=2).sum() > 50
    np.testing.assert_array_equal(draw_people(frame, [person, None]), draw_person(frame, person))
    second = draw_people(frame, [None, person])
    assert (second == ACCENTS[1]).all(axis=2).any() and not (second == ACCENTS[0]).all(axis=2).any()


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (40, 12), (2160, 3840)])
def test_any_size_of_frame(size, person):
    scaled = replace(person, frame_size=size, mask_source=lambda: np.ones(size, dtype=bool))
    for found in (True, False):
        assert replace(scaled, found=found).plot(np.zeros((*size, 3), np.uint8)).shape == (*size, 3)


def test_wild_keypoints_do_not_break_the_drawing(frame, person):
    keypoints = person.keypoints.copy()
    keypoints[3, :2], keypoints[4, :2] = 1e9, -1e9
    replace(person, keypoints=keypoints).plot(frame)


def test_grey_frames_and_wrong_sizes(frame, person):
    assert person.plot(frame[..., 0]).shape == frame.shape
    with pytest.raises(ValueError, match="was found in"):
        draw_person(frame[:100], person)


@pytest.mark.parametrize(
    ("text", "ascii_only"),
    [
        ("Mädchen in Grün", "Madchen in Grun"),
        ("Straße – “rot”…", 'Strasse - "rot".'),
        ("женщина в красном", "zhenshchina v krasnom"),
        ("Щука", "Shchuka"),
        ("άνθρωπος", "anthropos"),
        ("the 👩 man", "the man"),
        ("女の人", ""),
    ],
)
def test_printable_never_shows_question_marks(text, ascii_only):
    assert printable(text, unicode_fonts=False) == ascii_only
    assert printable(text, unicode_fonts=True).replace(" ", "").isalnum() or not text.replace(" ", "").isalnum()


def test_shorten():
    text = "a long description of somebody"
    width = 150
    line = shorten(text, width, 0.5, stroke(0.5), tail=" 93%")
    assert line.endswith(".. 93%") and measure(line, 0.5, stroke(0.5))[0] <= width
    assert shorten("short", 900, 0.5, 1, tail=" 93%") == "short 93%"
    assert shorten(text, 1, 0.5, 1, tail=" 93%") == " 93%"
