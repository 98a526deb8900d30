"""Training samples: one picture with several prompts, so that one backbone pass teaches many choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from humar_edge.data.captions import is_relational, mirror, paraphrase
from humar_edge.data.detail import add_detail, patch
from humar_edge.data.entries import Entry
from humar_edge.data.foreign import foreign_negative, paste_person
from humar_edge.data.geometry import PAD_VALUE, Placement, fit, visible_share
from humar_edge.data.photometric import jitter
from humar_edge.data.refhuman import read_annotated, read_image
from humar_edge.errors import DataError

MASK_STRIDE = 2
"""Target masks are kept at half the canvas."""
ENLARGED = 1.0
"""From this scale on a picture counts as enlarged."""
DRAWS = 10
"""Uniform numbers per prompt that the losses use, so that a batch alone determines its loss."""


@dataclass(frozen=True)
class Target:
    """One prompt and its answer, in units of the canvas.

    Attributes:
        caption: Text of the prompt.
        absent: Nobody fits; the other fields are zeros.
        box: float32 [4] xyxy.
        keypoints: float32 [17,3] x, y and v (0 not labelled, 1 hidden, 2 seen).
        mask: uint8 [size/2,size/2].
        has_mask: The mask is annotated.
        points: float32 [12,2] a scribble on the person, or None: then the prompt is the caption.
        attributes: What is known of the person, see `entries.Entry`.
    """

    caption: str
    absent: bool
    box: np.ndarray
    keypoints: np.ndarray
    mask: np.ndarray
    has_mask: bool
    points: np.ndarray | None
    attributes: str = ""


@dataclass(frozen=True)
class Sample:
    """uint8 RGB canvas [size,size,3], its prompts (usually at least one), and float32 [prompts,DRAWS] in [0,1)."""

    image: np.ndarray
    targets: list[Target]
    noise: np.ndarray | None = None


@dataclass(frozen=True)
class Augmentation:
    """How far augmentation goes.

    Attributes:
        surround: Share of pictures shrunk and surrounded by a picture without people, where there are such.
        smallest: Least size of those, over the size that fits.
        crop: Share of pictures cropped.
        window: Least side of a crop, over the longer side of the picture.
        light: Strength of `photometric.jitter`.
        detail: Share of enlarged pictures that get the fine detail of another one.
    """

    surround: float = 0.3
    smallest: float = 0.35
    crop: float = 0.5
    window: float = 0.4
    light: float = 1.0
    detail: float = 0.5


AUGMENTATIONS = {"strong": Augmentation(), "mild": Augmentation(0.12, 0.45, 0.3, 0.55, 0.5)}
"""`mild` is for data that already vary in scale and light, such as rendered scenes."""


@dataclass(frozen=True)
class SampleOptions:
    """How samples are drawn. Shares are probabilities in [0,1].

    Attributes:
        size: Canvas side in pixels, divisible by 32.
        prompts: Prompts per picture at most.
        augment: Move, mirror and jitter the picture, and reword captions.
        positional: Share of prompts given as points or a scribble instead of text.
        negatives: Prompts whose person is absent, at most, over `prompts`; a fraction of a prompt is a chance.
        augmentation: A key of `AUGMENTATIONS`.
        points: Share of single points among the positional prompts; the rest are scribbles.
        paste: Share of pictures that get a person of another picture.
        foreign: Share of pictures that get a caption of another picture as a prompt for nobody; only for data in
            which every person is annotated, or whose captions are specific.
    """

    size: int = 384
    prompts: int = 5
    augment: bool = True
    positional: float = 0.12
    negatives: float = 0.25
    augmentation: str = "strong"
    points: float = 0.5
    paste: float = 0.0
    foreign: float = 0.0


def _sample(image: np.ndarray, targets: list[Target], rng: np.random.Generator) -> Sample:
    return Sample(image, targets, rng.random((len(targets), DRAWS), dtype=np.float32))


def group_by_image(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of the same picture together, in order of first appearance."""
    groups: dict[Path, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.image_path, []).append(entry)
    return list(groups.values())


class SampleMaker:
    """Makes samples from groups of entries; `fillers` are pictures without people, shown around shrunken ones."""

    def __init__(self, groups: Sequence[list[Entry]], options: SampleOptions, fillers: Sequence[Path] = ()) -> None:
        self.groups = groups
        self.options = options
        self.far = AUGMENTATIONS[options.augmentation]
        self.fillers = list(fillers)

    def __len__(self) -> int:
        return len(self.groups)

    def make(self, index: int, seed: int) -> Sample:
        """Sample of group `index`, perhaps without prompts; the same seed gives the same sample.

        Raises:
            DataError: The picture cannot be read, or is of another size than annotated.
        """
        rng = np.random.default_rng([seed, index])
        entries = self.groups[index]
        absent = int(self.options.negatives * self.options.prompts + rng.random())
        if not absent and all(entry.absent for entry in entries):
            return _sample(np.empty((0, 0, 3), np.uint8), [], rng)
        image = np.ascontiguousarray(read_annotated(entries)[..., ::-1])
        if self.options.augment:
            image, entries = self._enrich(image, entries, rng)
            for _ in range(8):
                place, canvas = self._place(image, entries, rng)
                region = None if canvas is None else place.box(np.array([0, 0, image.shape[1], image.shape[0]]))
                targets = self._targets(entries, place, region, absent, rng)
                if targets:
                    picture = self._detail(place.image(image, canvas), place.scale, rng)
                    return _sample(jitter(picture, rng, self.far.light), targets, rng)
        place = fit(image.shape[1], image.shape[0], self.options.size)
        return _sample(place.image(image), self._targets(entries, place, None, absent, rng), rng)

    def _enrich(
        self, image: np.ndarray, entries: list[Entry], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Entry]]:
        """Perhaps a person of another picture, and a caption of another one that fits nobody here."""
        if self.options.paste and rng.random() < self.options.paste:
            donors = self.groups[int(rng.integers(len(self.groups)))]
            image, entries = paste_person(image, entries, donors, rng)
        if self.options.foreign and rng.random() < self.options.foreign:
            entries = [*entries, *foreign_negative(entries, self.groups[int(rng.integers(len(self.groups)))], rng)]
        return image, entries

    def _place(
        self, image: np.ndarray, entries: list[Entry], rng: np.random.Generator
    ) -> tuple[Placement, np.ndarray | None]:
        """A random placement, and the canvas to draw on where it is not plain grey."""
        size, (height, width) = self.options.size, image.shape[:2]
        flip, draw = bool(rng.random() < 0.5), rng.random()
        if draw < self.far.surround and self.fillers:
            scale = size / max(width, height) * rng.uniform(self.far.smallest, 1.0)
            shift = [rng.uniform(min(0, size - side * scale), max(0, size - side * scale)) for side in (width, height)]
            return Placement(scale, shift[0], shift[1], flip, width, size), self._filler(rng)
        if draw < self.far.surround + self.far.crop:
            return self._crop(entries, width, height, flip, rng), None
        return fit(width, height, size, flip), None

    def _crop(self, entries: list[Entry], width: int, height: int, flip: bool, rng: np.random.Generator) -> Placement:
        """A window that holds a random person's centre, letterboxed to the top-left corner."""
        share = rng.uniform(self.far.window, 1.0)
        aspect = np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
        side = share * max(width, height)
        window = np.minimum([side * min(1, aspect), side / max(1, aspect)], [width, height])
        people = [entry.box_xyxy for entry in entries if not entry.absent]
        box = people[rng.integers(len(people))] if people else np.array([0, 0, width, height], np.float32)
        centre = (box[:2] + box[2:]) / 2 + rng.uniform(-0.35, 0.35, 2) * window
        corner = np.clip(centre - window / 2, 0, [width - window[0], height - window[1]])
        scale = self.options.size / window.max()
        left = width - corner[0] - window[0] if flip else corner[0]
        return Placement(scale, -left * scale, -corner[1] * scale, flip, width, self.options.size)

    def _detail(self, image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
        """Perhaps with the fine detail that enlarging by `scale` did not bring."""
        if scale < ENLARGED or rng.random() >= self.far.detail or not self.fillers:
            return image
        donor = self._without_people(rng)
        return image if donor is None else add_detail(image, donor, scale, rng)

    def _without_people(self, rng: np.random.Generator) -> np.ndarray | None:
        """A random filler, or the next one that can be read, uint8 RGB [H,W,3]."""
        first = int(rng.integers(len(self.fillers)))
        for path in self.fillers[first:] + self.fillers[:first]:
            try:
                return np.ascontiguousarray(read_image(path)[..., ::-1])
            except DataError:
                continue
        return None

    def _filler(self, rng: np.random.Generator) -> np.ndarray:
        """A canvas covered by a random picture without people, uint8 RGB [size,size,3]; grey without one."""
        size = self.options.size
        picture = self._without_people(rng)
        if picture is None:
            return np.full((size, size, 3), PAD_VALUE, np.uint8)
        scale = size / min(picture.shape[:2]) * rng.uniform(1.0, 1.4)
        return patch(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), (size, size), rng)

    def _targets(
        self, entries: list[Entry], place: Placement, region: np.ndarray | None, absent: int, rng: np.random.Generator
    ) -> list[Target]:
        """Up to `prompts` prompts that are still true after the placement, at most `absent` of them for nobody."""
        size = self.options.size
        targets: list[Target] = []
        shares = {
            index: visible_share(place.box(entry.box_xyxy), size, region)
            for index, entry in enumerate(entries)
            if not entry.absent
        }
        whole = min(shares.values(), default=1.0) > 0.6
        for index in rng.permutation(len(entries)) if self.options.augment else range(len(entries)):
            entry = entries[index]
            if len(targets) == self.options.prompts:
                break
            if entry.absent and not absent:
                continue
            cut = not entry.absent and shares[index] < 0.45
            if self.options.augment and (cut or (not whole and not entry.absent and is_relational(entry.caption))):
                continue
            target = self._target(entry, place, rng)
            if target is not None:
                targets.append(target)
                absent -= entry.absent
        return targets

    def _target(self, entry: Entry, place: Placement, rng: np.random.Generator) -> Target | None:
        size = self.options.size
        caption = mirror(entry.caption) if place.flip else entry.caption
        if self.options.augment:
            caption = paraphrase(caption, rng)
        if entry.absent:
            mask = np.zeros((size // MASK_STRIDE, size // MASK_STRIDE), np.uint8)
            return Target(caption, True, np.zeros(4, np.float32), np.zeros((17, 3), np.float32), mask, False, None)
        if entry.has_mask:
            if isinstance(entry.segmentation, tuple):
                mask = place.polygons(entry.segmentation, MASK_STRIDE)
            else:
                mask = place.mask(entry.mask(), MASK_STRIDE)
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            if not len(rows) or mask.sum() < 8:
                return None
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) * MASK_STRIDE
        else:
            mask = np.zeros((size // MASK_STRIDE, size // MASK_STRIDE), np.uint8)
            box = place.box(entry.box_xyxy).clip(0, size)
        keypoints = place.keypoints(entry.keypoints)
        keypoints[:, :2] /= size
        points = None
        if entry.scribble is not None and rng.random() < self.options.positional:
            stroke = entry.scribble[rng.integers(len(entry.scribble))].astype(np.float32) + 0.5
            if rng.random() < self.options.points:
                stroke = np.repeat(stroke[rng.integers(len(stroke))][None], len(stroke), 0)
            points = (place.points(stroke) / size).clip(0, 1)
        return Target(caption, False, box / np.float32(size), keypoints, mask, entry.has_mask, points, entry.attributes)
