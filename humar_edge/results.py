"""What the runtime answers: one person, in pixels of the source frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from humar_edge import rle
from humar_edge.keypoints import NAMES

SCHEMA_VERSION = 1
"""Version of the JSON line (`humar_edge/assets/person.schema.json`)."""

PERSON_CATEGORY = 1
"""COCO's category id of "person"."""


@dataclass(frozen=True, eq=False)
class Person:
    """The one person a prompt means.

    When `found` is False, box and keypoints hold the best guess (evaluation ranks it), while `to_dict` leaves them out.

    Attributes:
        text: The prompt ("point (12, 40)" and the like for positional prompts).
        found: Whether `score` reaches the threshold.
        score: Probability in [0, 1] that the person is in the frame.
        box_xyxy: float32 [4], left, top, right, bottom in source pixels, clipped to the frame.
        keypoints: float32 [17, 3], x and y in source pixels (not clipped) and the probability of being visible.
        frame_size: Height and width of the source frame.
        timings: Milliseconds by stage: preprocess, inference, postprocess.
        track: State of a tracker, None without one.
        mask_source: Computes the mask on first use, bool [H, W] of the frame's size. None: there is no mask.
    """

    text: str
    found: bool
    score: float
    box_xyxy: np.ndarray
    keypoints: np.ndarray
    frame_size: tuple[int, int]
    timings: Mapping[str, float] = field(default_factory=dict)
    track: Mapping[str, Any] | None = None
    mask_source: Callable[[], np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the shapes, which everything downstream relies on."""
        shapes = {"box_xyxy": (self.box_xyxy, (4,)), "keypoints": (self.keypoints, (len(NAMES), 3))}
        for name, (array, shape) in shapes.items():
            if np.shape(array) != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, got {list(np.shape(array))}")

    @cached_property
    def mask(self) -> np.ndarray:
        """The person's pixels, bool [H, W] of the source frame; all False when the person was not found."""
        if self.mask_source is None or not self.found:
            return np.zeros(self.frame_size, dtype=bool)
        return self.mask_source()

    def to_dict(self, *, mask: bool = False) -> dict[str, Any]:
        """Plain data for JSON; coordinates rounded to 0.01 px, None where nobody was found.

        Args:
            mask: Also give the mask as compressed COCO RLE.
        """
        data: dict[str, Any] = {
            "text": self.text,
            "found": self.found,
            "score": round(self.score, 4),
            "box_xyxy": _rounded(self.box_xyxy, 2) if self.found else None,
            "keypoints": _keypoint_rows(self.keypoints) if self.found else None,
            "track": dict(self.track) if self.track is not None else None,
        }
        if mask:
            data["mask"] = rle.encode(self.mask) if self.found else None
        return data

    def to_record(self, *, source: str, frame: int, time_s: float, mask: bool = False) -> dict[str, Any]:
        """One JSON line, valid against `person.schema.json`.

        Args:
            source: Where the frame comes from: a path, an address or a camera.
            frame: Index of the frame, from 0.
            time_s: Seconds since the start of the source.
            mask: Also give the mask.
        """
        head = {"schema_version": SCHEMA_VERSION, "source": source, "frame": frame, "time_s": round(time_s, 4)}
        timings = {stage: round(value, 3) for stage, value in self.timings.items()}
        return head | self.to_dict(mask=mask) | {"timings_ms": timings}

    def to_coco(self, image_id: int, *, mask: bool = True) -> dict[str, Any]:
        """One entry of a COCO results file (keypoints, bbox as xywh, segmentation as compressed RLE).

        Entries are given for people below the threshold too, because average precision ranks all of them;
        their segmentation is decoded as if they had been found.
        """
        left, top, right, bottom = (float(value) for value in self.box_xyxy)
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": PERSON_CATEGORY,
            "score": float(self.score),
            "bbox": [left, top, right - left, bottom - top],
            "keypoints": self.keypoints.astype(float).ravel().tolist(),
        }
        if mask and self.mask_source is not None:
            entry["segmentation"] = rle.encode(self.mask if self.found else self.mask_source())
        return entry

    def plot(self, frame: np.ndarray) -> np.ndarray:
        """An annotated copy of the frame (uint8 BGR [H, W, 3])."""
        from humar_edge.runtime.draw import draw_person

        return draw_person(frame, self)


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def _keypoint_rows(keypoints: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2), round(float(v), 4)] for x, y, v in keypoints]
