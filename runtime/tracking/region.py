"""Looking closer: the frames after a good one are cut to the surroundings of the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from humar_edge.results import Person


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels in a frame; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The part of an image [H, W, ...] inside; a view."""
        return image[self.top : self.bottom, self.left : self.right]

    def to_frame(self, person: Person, frame_size: tuple[int, int]) -> Person:
        """A result on the crop as a result on the frame of (height, width). Exact: only whole pixels are added."""
        offset = np.array([self.left, self.top], dtype=np.float32)
        keypoints = person.keypoints.copy()
        keypoints[:, :2] += offset
        inner = person.mask_source

        def mask() -> np.ndarray:
            whole = np.zeros(frame_size, dtype=bool)
            if inner is not None:
                self.crop(whole)[...] = inner()
            return whole

        return replace(
            person,
            box_xyxy=person.box_xyxy + np.tile(offset, 2),
            keypoints=keypoints,
            frame_size=frame_size,
            mask_source=None if inner is None else mask,
        )

    def cuts(self, box_xyxy: np.ndarray, frame_size: tuple[int, int], slack: float = 2.0) -> bool:
        """Whether a box reaches an edge of the region behind which the frame goes on."""
        height, width = frame_size
        left, top, right, bottom = (float(v) for v in box_xyxy)
        return (
            (self.left > 0 and left <= self.left + slack)
            or (self.top > 0 and top <= self.top + slack)
            or (self.right < width and right >= self.right - slack)
            or (self.bottom < height and bottom >= self.bottom - slack)
        )


class RegionOfInterest:
    """Decides which part of the next frame to look at.

    Args:
        min_score: Everybody must be at least this sure for a region.
        margin: Room around the box on every side, as a share of its larger side.
        refresh: After so many frames one whole frame is looked at, to notice a better match elsewhere.
        max_share: A region larger than this share of the frame is not worth it.
    """

    def __init__(self, min_score: float = 0.6, margin: float = 0.4, refresh: int = 30, max_share: float = 0.6) -> None:
        self._min_score, self._margin, self._refresh, self._max_share = min_score, margin, refresh, max_share
        self.reset()

    def reset(self) -> None:
        """Look at the whole of the next frame."""
        self._next: Region | None = None
        self._used = 0

    def next_region(self, frame_size: tuple[int, int]) -> Region | None:
        """The region for the next frame of (height, width); None: the whole frame."""
        if self._next is None or self._used >= self._refresh:
            self._used = 0
            return None
        height, width = frame_size
        if self._next.right > width or self._next.bottom > height:
            self.reset()
            return None
        self._used += 1
        return self._next

    def update(self, persons: Sequence[Person], region: Region | None) -> None:
        """Take the results (in frame coordinates) that came from `region`."""
        self._next = None
        sure = bool(persons) and all(p.found and p.score >= self._min_score for p in persons)
        if not sure or (region is not None and any(region.cuts(p.box_xyxy, p.frame_size) for p in persons)):
            return
        boxes = np.stack([p.box_xyxy for p in persons]).astype(float)
        left, top = boxes[:, :2].min(axis=0)
        right, bottom = boxes[:, 2:].max(axis=0)
        room = self._margin * max(right - left, bottom - top)
        height, width = persons[0].frame_size
        found = Region(
            max(int(left - room), 0),
            max(int(top - room), 0),
            min(int(np.ceil(right + room)), width),
            min(int(np.ceil(bottom + room)), height),
        )
        area = (found.right - found.left) * (found.bottom - found.top)
        if found.right - found.left >= 8 and found.bottom - found.top >= 8 and area <= self._max_share * height * width:
            self._next = found
