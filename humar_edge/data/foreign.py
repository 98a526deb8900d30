"""People and captions of other pictures: copy-paste, and prompts that fit nobody.

Both are safe only as far as captions tell people apart. A caption from elsewhere counts as distinct when it says
something definite (a colour, a garment, a thing) that no caption of the picture says. People whom nobody annotated
may still fit it, so both are options, for data in which everybody is annotated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from humar_edge.data.captions import is_relational
from humar_edge.data.entries import Entry
from humar_edge.data.refhuman import read_annotated
from humar_edge.errors import DataError

VAGUE = frozenset(
    "a an the of in on at with and or to is are was who that which this his her their its it he she they "
    "man men woman women person people boy girl guy lady gentleman child kid baby adult human someone figure player "
    "wearing wears dressed holding standing sitting walking looking having has big small large tall short young old "
    "shirt pants picture photo image side one two".split()
)
"""Words that tell hardly anybody apart."""

LEAST_WORDS = 2
"""Definite words that a caption must have beyond those of the picture to count as fitting nobody there."""
MOST_COVERED = 0.1
"""Share of an annotated box that a pasted person may cover."""
HEIGHTS = (0.75, 1.3)
"""Height of a pasted person over the height of somebody in the picture."""


def definite_words(captions: Iterable[str]) -> set[str]:
    """Lower-case words of captions that say something definite."""
    return {word for caption in captions for word in re.findall(r"[a-z]+", caption.lower())} - VAGUE


def is_distinct(caption: str, others: Iterable[str], least: int = LEAST_WORDS) -> bool:
    """Whether a caption has at least so many definite words that none of the others has, and speaks of no place."""
    return not is_relational(caption) and len(definite_words([caption]) - definite_words(others)) >= least


def foreign_negative(entries: Sequence[Entry], strangers: Sequence[Entry], rng: np.random.Generator) -> list[Entry]:
    """A caption of a stranger as an entry for nobody in this picture; an empty list where none is safe.

    Args:
        entries: Entries of the picture.
        strangers: Entries of another picture.
        rng: Chooses among the safe ones.
    """
    here = entries[0]
    if strangers[0].image_path == here.image_path:
        return []
    captions = [entry.caption for entry in entries]
    safe = [entry for entry in strangers if not entry.absent and is_distinct(entry.caption, captions)]
    if not safe:
        return []
    chosen = safe[rng.integers(len(safe))]
    return [
        replace(
            here,
            id=-1,
            caption=chosen.caption,
            bbox=np.zeros(4, np.float32),
            keypoints=np.zeros((17, 3), np.float32),
            segmentation=(),
            area=0.0,
            scribble=None,
            absent=True,
        )
    ]


def paste_person(
    image: np.ndarray, entries: list[Entry], donors: Sequence[Entry], rng: np.random.Generator
) -> tuple[np.ndarray, list[Entry]]:
    """Paste somebody of another picture beside the people of this one.

    Captions that the newcomer makes doubtful go: those about places or about others, and those without a definite word
    of their own. Nothing changes where the newcomer has no mask of polygons, finds no room, or is described too much
    like somebody, nor where its picture cannot be read or is of another size than annotated.

    Args:
        image: uint8 [H,W,3] RGB.
        entries: Entries of the picture.
        donors: Entries of the other picture.
        rng: Chooses whom, how large and where.

    Returns:
        The picture and its entries, the newcomer's captions included.
    """
    here = [entry for entry in entries if not entry.absent]
    usable = [e for e in donors if isinstance(e.segmentation, tuple) and e.segmentation and not e.absent]
    if not here or not usable or usable[0].image_path == entries[0].image_path:
        return image, entries
    donor = usable[rng.integers(len(usable))]
    of_donor = [e for e in usable if np.array_equal(e.bbox, donor.bbox)]
    mine = [e for e in of_donor if is_distinct(e.caption, [o.caption for o in entries], 1)]
    kept = [e for e in entries if is_distinct(e.caption, [o.caption for o in of_donor], 1)]
    if not mine or not any(not e.absent for e in kept):
        return image, entries
    place = _place(here, donor, image.shape[:2], rng)
    if place is None:
        return image, entries
    scale, shift = place
    try:
        picture = read_annotated([donor])[..., ::-1]
    except DataError:
        return image, entries
    result = _draw(image, np.ascontiguousarray(picture), donor, scale, shift)
    frame = entries[0]
    return result, kept + [_moved(entry, frame, scale, shift) for entry in mine]


def _place(
    here: list[Entry], donor: Entry, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[float, np.ndarray] | None:
    """Scale and shift that put the donor on the ground of somebody here, wholly inside and hardly over anybody."""
    for _ in range(8):
        beside = here[rng.integers(len(here))]
        scale = float(beside.bbox[3] / donor.bbox[3] * rng.uniform(*HEIGHTS))
        size = donor.bbox[2:] * scale
        room = shape[1] - size[0]
        top = beside.box_xyxy[3] - size[1]
        if room <= 0 or top < 0:
            continue
        low = np.array([rng.uniform(0, room), top])
        if all(_covered(entry.box_xyxy, low, low + size) <= MOST_COVERED for entry in here):
            return scale, low - donor.bbox[:2] * scale
    return None


def _covered(box: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    shared = np.clip(np.minimum(box[2:], high) - np.maximum(box[:2], low), 0, None).prod()
    return float(shared / max(np.prod(box[2:] - box[:2]), 1e-6))


def _draw(image: np.ndarray, picture: np.ndarray, donor: Entry, scale: float, shift: np.ndarray) -> np.ndarray:
    """Blend the donor's pixels in, with an edge a pixel or two wide."""
    mask: np.ndarray = donor.mask().astype(np.float32)
    if scale < 1:  # smaller: without this, warpAffine would skip pixels
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.5 / scale))
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.5 / scale))
    # pixel i spans [i, i+1], warpAffine counts from pixel centres
    matrix = np.array([[scale, 0, shift[0] + 0.5 * scale - 0.5], [0, scale, shift[1] + 0.5 * scale - 0.5]])
    height, width = image.shape[:2]
    colours = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    share = cv2.GaussianBlur(cv2.warpAffine(mask, matrix, (width, height)), (0, 0), 0.8)[..., None]
    return np.asarray(np.round(image * (1 - share) + colours * share), np.uint8)


def _moved(entry: Entry, frame: Entry, scale: float, shift: np.ndarray) -> Entry:
    """The donor's entry in the coordinates of the picture it moves to."""
    keypoints = entry.keypoints.copy()
    keypoints[:, :2] = keypoints[:, :2] * scale + shift
    outside = (keypoints[:, :2] < 0).any(1) | (keypoints[:, :2] >= [frame.width, frame.height]).any(1)
    keypoints[outside | (keypoints[:, 2] == 0)] = 0
    assert isinstance(entry.segmentation, tuple)
    polygons = tuple((polygon * scale + shift).astype(np.float32) for polygon in entry.segmentation)
    scribble = entry.scribble
    if scribble is not None:
        last = [frame.width - 1, frame.height - 1]
        scribble = np.clip(np.floor((scribble + 0.5) * scale + shift), 0, last).astype(np.int32)
    bbox = np.concatenate([entry.bbox[:2] * scale + shift, entry.bbox[2:] * scale]).astype(np.float32)
    return replace(
        entry,
        image_path=frame.image_path,
        width=frame.width,
        height=frame.height,
        bbox=bbox,
        keypoints=keypoints,
        segmentation=polygons,
        area=entry.area * scale**2,
        scribble=scribble,
    )
