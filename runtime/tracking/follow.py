"""One person over time: presence and smoothing applied to results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from humar_edge.prompts import PositionalPrompt, box_prompt, point_prompt
from humar_edge.results import Person
from humar_edge.runtime.tracking.one_euro import OneEuroFilter
from humar_edge.runtime.tracking.presence import PresenceTracker

# Less overlap than this between consecutive boxes is another person, or a cut: nothing may be smoothed across it.
_SAME_PERSON_IOU = 0.2

# The filter knows nothing after a silence this long.
_GAP_S = 0.5

_VISIBLE = 0.3


class PersonTracker:
    """Makes a steady series out of the results for one prompt.

    Args:
        threshold: Score from which the person is found.
        smooth: Filter keypoints and box.
        lost_after_s: How long a weak score is bridged, seconds.
    """

    def __init__(self, threshold: float, *, smooth: bool = True, lost_after_s: float = 0.3) -> None:
        self._presence = PresenceTracker(threshold, lost_after_s=lost_after_s)
        self._filter = OneEuroFilter() if smooth else None
        self._raw_box: np.ndarray | None = None
        self._last: Person | None = None
        self._time = 0.0

    def update(self, person: Person, time_s: float) -> Person:
        """The result for a frame, steadied; `track` tells state, since_s and event."""
        presence = self._presence.update(person.score, time_s)
        track = {"state": presence.state, "since_s": round(presence.since_s, 4), "event": presence.event}
        if not presence.found:
            self._forget()
            return replace(person, found=False, track=track)
        if self._last is not None and self._last.frame_size != person.frame_size:
            # A stream that came back at another resolution: the old place and mask do not fit its frames.
            self._forget()
        same = self._raw_box is not None and iou(self._raw_box, person.box_xyxy) >= _SAME_PERSON_IOU
        if not person.found and not same and self._last is not None:
            # A weak guess somewhere else: stay where the person was until it is clear that they have gone.
            return replace(self._last, score=person.score, timings=person.timings, track=track)
        if self._filter is not None and (not same or time_s - self._time > _GAP_S):
            self._filter.reset()
        self._raw_box, self._time = person.box_xyxy, time_s
        self._last = replace(self._smoothed(person, time_s), found=True, track=track)
        return self._last

    def _smoothed(self, person: Person, time_s: float) -> Person:
        if self._filter is None:
            return person
        corners = person.box_xyxy.reshape(2, 2)
        size = float((corners[1] - corners[0]).max())
        points = np.concatenate([person.keypoints[:, :2], corners])
        smooth = self._filter(points, time_s, size).astype(np.float32)
        keypoints = np.concatenate([smooth[:-2], person.keypoints[:, 2:]], axis=1)
        return replace(person, keypoints=keypoints, box_xyxy=smooth[-2:].reshape(4))

    def _forget(self) -> None:
        self._raw_box = self._last = None
        if self._filter is not None:
            self._filter.reset()


def follow_points(prompt: PositionalPrompt, person: Person) -> PositionalPrompt:
    """The positional prompt for the next frame: points on the person just found, under the name of the first prompt."""
    if not person.found:
        return prompt
    height, width = person.frame_size
    xy = person.keypoints[:, :2]
    inside = np.all((xy >= 0) & (xy < [width, height]), axis=1)
    points = xy[inside & (person.keypoints[:, 2] >= _VISIBLE)]
    if len(points) >= 3:
        return replace(prompt, points=point_prompt(points).points)
    left, top, right, bottom = person.box_xyxy
    if right - left < 1 or bottom - top < 1:
        return prompt
    return replace(prompt, points=box_prompt(person.box_xyxy).points)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes xyxy."""
    inner = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    if (inner <= 0).any():
        return 0.0
    shared = float(inner.prod())
    areas = float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod())
    return shared / max(areas - shared, 1e-9)
