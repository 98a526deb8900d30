"""Drawing people over a frame: mask, box, skeleton and label, all scaled to the size of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from humar_edge.keypoints import NAMES, SKELETON
from humar_edge.runtime.lettering import measure, printable, shorten, stroke, write
from humar_edge.runtime.preprocess import as_bgr

if TYPE_CHECKING:
    from humar_edge.results import Person

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

LEFT: Colour = (80, 175, 255)
RIGHT: Colour = (255, 180, 60)
CENTRE: Colour = (120, 235, 130)
"""BGR. Orange and blue are told apart by most colour-blind people too."""

ACCENTS: tuple[Colour, ...] = (
    (215, 110, 255),
    (230, 225, 80),
    (90, 230, 250),
    (255, 140, 160),
    (120, 240, 190),
    (225, 225, 225),
)
"""BGR of mask, box and label: one prompt after the other, then from the beginning again."""

_MISSING: Colour = (70, 70, 220)
_DARK: Colour = (32, 28, 26)
_LIGHT: Colour = (250, 250, 250)

VISIBLE_FROM = 0.3
"""Keypoints below this visibility are not drawn."""

_MASK_OPACITY = 0.35
_PANEL_OPACITY = 0.75

# Sub-pixel drawing: OpenCV takes coordinates in units of 1 / 2**_SHIFT pixels.
_SHIFT = 4
_LIMIT = 1 << 14


def draw_person(frame: np.ndarray, person: Person) -> np.ndarray:
    """An annotated copy of a frame; a banner in the corner when the person was not found.

    Args:
        frame: uint8 BGR [H, W, 3] (or anything `as_bgr` takes) of the person's `frame_size`.
        person: What to draw.

    Returns:
        uint8 BGR [H, W, 3].

    Raises:
        ValueError: The frame has another size.
    """
    return draw_people(frame, [person])


def draw_people(frame: np.ndarray, persons: Sequence[Person | None]) -> np.ndarray:
    """As `draw_person` for several people: every one in a colour of their own, no label over another.

    Args:
        frame: uint8 BGR [H, W, 3] (or anything `as_bgr` takes) of the people's `frame_size`.
        persons: Whom to draw, one per prompt; the order chooses the colours. None keeps a place for somebody who is
            not to be drawn.

    Raises:
        ValueError: The frame has another size.
    """
    canvas = as_bgr(frame).copy()
    thickness = _thickness(canvas)
    drawn = [(ACCENTS[n % len(ACCENTS)], person) for n, person in enumerate(persons) if person is not None]
    for accent, person in drawn:
        if canvas.shape[:2] != tuple(person.frame_size):
            raise ValueError(f"the frame is {canvas.shape[:2]}, the person was found in {tuple(person.frame_size)}")
        if person.found:
            _draw_mask(canvas, person.mask, accent, thickness)
            _draw_box(canvas, person.box_xyxy, accent, thickness)
            _draw_skeleton(canvas, person.keypoints, thickness)
    # Labels last, so that nobody covers somebody else's.
    taken: list[Rectangle] = []
    for accent, person in drawn:
        _draw_label(canvas, person, accent, taken)
    return canvas


def _thickness(canvas: np.ndarray) -> int:
    return max(1, round(min(canvas.shape[:2]) / 240))


def _font_scale(canvas: np.ndarray) -> float:
    return float(np.clip(min(canvas.shape[:2]) / 900, 0.4, 2.5))


def _draw_mask(canvas: np.ndarray, mask: np.ndarray, accent: Colour, thickness: int) -> None:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width or not height:
        return
    # Only the mask's own rectangle is touched: blending whole 4K frames is slow.
    part, inside = canvas[y : y + height, x : x + width], mask[y : y + height, x : x + width]
    tinted = cv2.addWeighted(part, 1 - _MASK_OPACITY, np.full_like(part, accent), _MASK_OPACITY, 0)
    part[inside] = tinted[inside]
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    cv2.drawContours(canvas, contours, -1, accent, max(1, thickness // 2), cv2.LINE_AA)


def _draw_box(canvas: np.ndarray, box: np.ndarray, accent: Colour, thickness: int) -> None:
    left, top, right, bottom = np.round(box).astype(int).tolist()
    # The box's far edges lie between pixels; the last pixel inside is one before.
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    arm = max(2, round(0.18 * min(right - left, bottom - top)))
    for x, inward_x in ((left, arm), (right, -arm)):
        for y, inward_y in ((top, arm), (bottom, -arm)):
            corner = np.array([(x + inward_x, y), (x, y), (x, y + inward_y)])
            cv2.polylines(canvas, [corner], False, _DARK, thickness + 2, cv2.LINE_AA)
            cv2.polylines(canvas, [corner], False, accent, thickness, cv2.LINE_AA)


def _side(*names: str) -> Colour:
    """The colour of a keypoint or bone: of its side when all its ends are on one side."""
    for prefix, colour in (("left_", LEFT), ("right_", RIGHT)):
        if all(name.startswith(prefix) for name in names):
            return colour
    return CENTRE


_KEYPOINT_COLOURS = [_side(name) for name in NAMES]
_BONE_COLOURS = [_side(NAMES[start], NAMES[end]) for start, end in SKELETON]


def _draw_skeleton(canvas: np.ndarray, keypoints: np.ndarray, thickness: int) -> None:
    visible = keypoints[:, 2] >= VISIBLE_FROM
    # Far outside the frame OpenCV's fixed-point coordinates would overflow.
    points = np.clip(keypoints[:, :2], -_LIMIT, _LIMIT)
    places = [(int(x), int(y)) for x, y in np.round(points * (1 << _SHIFT))]
    bones = [
        (places[start], places[end], colour)
        for (start, end), colour in zip(SKELETON, _BONE_COLOURS, strict=True)
        if visible[start] and visible[end]
    ]
    dots = [(place, colour) for place, colour, shown in zip(places, _KEYPOINT_COLOURS, visible, strict=True) if shown]
    radius = round((thickness * 1.6) * (1 << _SHIFT))
    rim = max(1, thickness // 2) << _SHIFT
    # Every dark outline first, so that no outline crosses a coloured bone.
    for start, end, _ in bones:
        cv2.line(canvas, start, end, _DARK, thickness + 2, cv2.LINE_AA, _SHIFT)
    for start, end, colour in bones:
        cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA, _SHIFT)
    for place, colour in dots:
        cv2.circle(canvas, place, radius + rim, _DARK, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, place, radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _draw_label(canvas: np.ndarray, person: Person, accent: Colour, taken: list[Rectangle]) -> None:
    text, tail = printable(person.text), f" {person.score:.0%}"
    if person.found:
        left, top, _, bottom = (round(value) for value in person.box_xyxy.tolist())
        _draw_panel(canvas, text, tail, (left, top, bottom), accent, taken)
    else:
        _draw_panel(canvas, f"not found: {text}" if text else "not found", tail, None, _MISSING, taken)


def _draw_panel(
    canvas: np.ndarray,
    text: str,
    tail: str,
    anchor: tuple[int, int, int] | None,
    colour: Colour,
    taken: list[Rectangle],
) -> None:
    """A line of text on a dark panel with a coloured edge, always inside the frame.

    Args:
        canvas: Drawn on in place.
        text: Shortened when it does not fit.
        tail: Kept at its end.
        anchor: Left, top and bottom of the box it belongs to; None puts the panel into the top-left corner.
        colour: Of the edge.
        taken: Where panels are already; this one is added.
    """
    height, width = canvas.shape[:2]
    scale = _font_scale(canvas)
    thickness = stroke(scale)
    pad = max(2, round(8 * scale))
    edge = max(2, pad // 2)
    line = shorten(text, width - 2 * pad - edge, scale, thickness, tail=tail).strip()
    text_width, ascent, descent = measure(line, scale, thickness)
    panel_width, panel_height = text_width + 2 * pad + edge, ascent + descent + pad
    if panel_width > width or panel_height > height:
        return
    left, places, step = 0, [0], panel_height + max(1, pad // 4)
    if anchor is not None:
        left = min(max(anchor[0], 0), width - panel_width)
        # Above the box, else below it, else over the feet rather than over the face.
        places = [anchor[1] - panel_height - pad // 2, anchor[2] + pad // 2, height - panel_height]
    rows = [*places, *(place + sign * n * step for n in range(1, 7) for place in places for sign in (-1, 1))]
    inside = [top for top in rows if 0 <= top <= height - panel_height]
    free = (top for top in inside if not _meets((left, top, left + panel_width, top + panel_height), taken))
    top = next(free, inside[0])
    taken.append((left, top, left + panel_width, top + panel_height))
    panel = canvas[top : top + panel_height, left : left + panel_width]
    panel[:] = cv2.addWeighted(panel, 1 - _PANEL_OPACITY, np.full_like(panel, _DARK), _PANEL_OPACITY, 0)
    panel[:, :edge] = colour
    write(canvas, line, (left + edge + pad, top + pad // 2 + ascent), scale, _LIGHT)


def _meets(one: Rectangle, others: Iterable[Rectangle]) -> bool:
    return any(one[0] < o[2] and o[0] < one[2] and one[1] < o[3] and o[1] < one[3] for o in others)
