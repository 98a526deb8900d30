"""Pictures of single outcomes and contact sheets of many."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np

from humar_edge import rle
from humar_edge.data.refhuman import read_image
from humar_edge.evaluation.evaluator import Outcome
from humar_edge.keypoints import SKELETON

ANNOTATED, PREDICTED = (80, 220, 80), (40, 120, 255)
"""Colours of the annotation (green) and the prediction (orange), BGR."""

LEAST_VISIBLE = 0.3
"""Predicted keypoints below this visibility are not drawn."""

TILE = 280
GAP = 12
"""Pixels between tiles."""
_LINE_HEIGHT = 18
_CAPTION_LINES, _CHARACTERS = 2, 42
_TEXT_HEIGHT = (_CAPTION_LINES + 1) * _LINE_HEIGHT + 10
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_outcome(outcome: Outcome, side: int = TILE) -> np.ndarray:
    """The entry's picture with annotation (thin, green) and prediction (orange, with its mask).

    Args:
        outcome: what to draw; its picture is read again.
        side: the longer side of the result in pixels.

    Returns:
        uint8 [H, W, 3], BGR.
    """
    frame = read_image(outcome.entry.image_path)
    if outcome.mask is not None:
        mask = rle.decode(outcome.mask)
        frame[mask] = (0.55 * frame[mask] + 0.45 * np.array(PREDICTED)).astype(np.uint8)
    scale = side / max(frame.shape[:2])
    size = (max(round(frame.shape[1] * scale), 1), max(round(frame.shape[0] * scale), 1))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    guess = outcome.keypoints
    shown = guess[:, 2] >= LEAST_VISIBLE if guess.shape[1] > 2 else np.ones(len(guess), dtype=bool)
    _draw(picture, outcome.box_xyxy * scale, guess[:, :2] * scale, shown, PREDICTED, 2)
    if not outcome.entry.absent:
        keypoints = outcome.entry.keypoints
        _draw(picture, outcome.entry.box_xyxy * scale, keypoints[:, :2] * scale, keypoints[:, 2] > 0, ANNOTATED, 1)
    return picture


def contact_sheet(outcomes: Sequence[Outcome], columns: int = 4) -> np.ndarray:
    """Tiles with caption (as much as fits two lines) and figures below each picture.

    Args:
        outcomes: at least one.
        columns: tiles per row.

    Returns:
        uint8 [H, W, 3], BGR.
    """
    columns = min(columns, len(outcomes))
    rows = -(-len(outcomes) // columns)
    pitch = (TILE + _TEXT_HEIGHT + GAP, TILE + GAP)
    sheet = np.full((rows * pitch[0], columns * pitch[1] - GAP, 3), 255, dtype=np.uint8)
    for number, outcome in enumerate(outcomes):
        top, left = (number // columns) * pitch[0], (number % columns) * pitch[1]
        picture = draw_outcome(outcome)
        above = top + TILE - picture.shape[0]  # pictures stand on their captions
        sheet[above : top + TILE, left : left + picture.shape[1]] = picture
        for line, text in enumerate([*caption_lines(outcome.entry.caption), figures_line(outcome)]):
            place = (left + 2, top + TILE + _LINE_HEIGHT * (line + 1) - 2)
            cv2.putText(sheet, text, place, _FONT, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return sheet


def caption_lines(caption: str) -> list[str]:
    """A caption in at most two lines, with an ellipsis where it is longer."""
    # OpenCV's font knows ASCII only.
    printable = caption.encode("ascii", "replace").decode()
    return textwrap.wrap(printable, _CHARACTERS, max_lines=_CAPTION_LINES, placeholder=" ...") or [""]


def figures_line(outcome: Outcome) -> str:
    """Score and overlaps of one outcome in a few words."""
    if outcome.entry.absent:
        return f"nobody; score {outcome.score:.2f}"
    mask = f" mask {outcome.overlap[0] / max(outcome.overlap[1], 1):.2f}" if outcome.overlap else ""
    return f"score {outcome.score:.2f} OKS {outcome.oks:.2f} box {outcome.box_iou:.2f}{mask}"


def _draw(
    picture: np.ndarray,
    box: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Box, limbs and joints; limbs of small people are thin, so that two poses can be told apart."""
    limit = 4 * max(picture.shape[:2])
    corners = [tuple(int(v) for v in np.clip(corner, -limit, limit)) for corner in box.reshape(2, 2)]
    cv2.rectangle(picture, corners[0], corners[1], colour, thickness, cv2.LINE_AA)
    limb = thickness if corners[1][1] - corners[0][1] > TILE / 2 else 1
    dots = [tuple(int(v) for v in np.clip(point, -limit, limit)) for point in points]
    for first, second in SKELETON:
        if shown[first] and shown[second]:
            cv2.line(picture, dots[first], dots[second], colour, limb, cv2.LINE_AA)
    for dot, visible in zip(dots, shown, strict=True):
        if visible:
            cv2.circle(picture, dot, limb + 1, colour, -1, cv2.LINE_AA)
