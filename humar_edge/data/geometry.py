"""One scale, shift and flip for everything that lives in a picture: pixels, boxes, keypoints, masks, scribbles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from humar_edge.data.masks import polygon_mask
from humar_edge.keypoints import FLIP

PAD_VALUE = 114
"""Grey of the canvas where the picture does not reach, the same in training and at run time."""


@dataclass(frozen=True)
class Placement:
    """Where a picture lands on a square canvas.

    A point (x, y) of the (perhaps mirrored) picture goes to (scale * x + shift_x, scale * y + shift_y), continuous
    pixel coordinates in which pixel i spans [i, i+1].

    Attributes:
        scale: Canvas pixels per picture pixel.
        shift_x: Canvas x of the picture's left edge.
        shift_y: Canvas y of the picture's top edge.
        flip: Mirror the picture first.
        width: Width of the picture in pixels.
        size: Canvas side in pixels.
    """

    scale: float
    shift_x: float
    shift_y: float
    flip: bool
    width: int
    size: int

    def points(self, points: np.ndarray) -> np.ndarray:
        """Move [...,2] points (x, y)."""
        x = self.width - points[..., 0] if self.flip else points[..., 0]
        return np.stack([x * self.scale + self.shift_x, points[..., 1] * self.scale + self.shift_y], -1).astype(
            np.float32
        )

    def box(self, box: np.ndarray) -> np.ndarray:
        """Move an xyxy box; not clipped."""
        corners = self.points(np.asarray(box, np.float32).reshape(2, 2))
        return np.concatenate([corners.min(0), corners.max(0)])

    def keypoints(self, keypoints: np.ndarray) -> np.ndarray:
        """Move [17,3] keypoints, swap left and right when mirrored, and clear what leaves the canvas (v = 0)."""
        moved = keypoints.astype(np.float32).copy()
        moved[:, :2] = self.points(keypoints[:, :2])
        if self.flip:
            moved = moved[list(FLIP)]
        outside = ((moved[:, :2] < 0) | (moved[:, :2] >= self.size)).any(1)
        moved[outside | (moved[:, 2] == 0)] = 0
        return moved

    def image(self, image: np.ndarray, canvas: np.ndarray | None = None) -> np.ndarray:
        """Draw a uint8 [H,W,3] picture on the canvas (grey, or the given uint8 [size,size,3])."""
        if self.flip:
            image = image[:, ::-1]
        area = self.scale < 1
        height, width = image.shape[:2]
        if area:
            image = cv2.resize(
                image,
                (max(1, round(width * self.scale)), max(1, round(height * self.scale))),
                interpolation=cv2.INTER_AREA,
            )
        rows, columns = image.shape[:2]
        grow_x, grow_y = self.scale * width / columns, self.scale * height / rows
        # warpAffine maps pixel centres at integers, Placement at halves
        matrix = np.array(
            [
                [grow_x, 0, self.shift_x + 0.5 * grow_x - 0.5],
                [0, grow_y, self.shift_y + 0.5 * grow_y - 0.5],
            ]
        )
        target = np.full((self.size, self.size, 3), PAD_VALUE, np.uint8) if canvas is None else canvas.copy()
        return np.asarray(
            cv2.warpAffine(
                np.ascontiguousarray(image),
                matrix,
                (self.size, self.size),
                dst=target,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_TRANSPARENT,
            )
        )

    def polygons(self, polygons: Sequence[np.ndarray], stride: int) -> np.ndarray:
        """Rasterise polygons [P,2] on the canvas at 1/stride of its size: uint8 [size/stride,size/stride], 0 or 1."""
        side = self.size // stride
        mask = np.zeros((side, side), bool)
        for polygon in polygons:
            mask |= polygon_mask(self.points(polygon) / stride, side, side)
        return mask.astype(np.uint8)

    def mask(self, mask: np.ndarray, stride: int) -> np.ndarray:
        """A bool [H,W] mask on the canvas at 1/stride of its size, like `polygons`: what lies under a cell's centre."""
        centres = (np.arange(self.size // stride) + 0.5) * stride
        x, y = (centres - self.shift_x) / self.scale, (centres - self.shift_y) / self.scale
        columns, rows = (np.floor(axis).astype(int) for axis in (self.width - x if self.flip else x, y))
        # one row and column of background around stand for all that is outside
        height, width = mask.shape
        around = np.pad(mask, 1)
        return around[np.ix_(rows.clip(-1, height) + 1, columns.clip(-1, width) + 1)].astype(np.uint8)


def fit(width: int, height: int, size: int, flip: bool = False) -> Placement:
    """The run time's letterbox: as large as fits, in the top-left corner."""
    return Placement(size / max(width, height), 0.0, 0.0, flip, width, size)


def visible_share(box: np.ndarray, size: int, other: np.ndarray | None = None) -> float:
    """Share of a moved xyxy box that lies on the canvas (and in the xyxy region `other`)."""
    low, high = (np.zeros(2), np.full(2, float(size))) if other is None else (other[:2], other[2:])
    kept = np.clip(np.minimum(box[2:], high) - np.maximum(box[:2], low), 0, None).prod()
    return float(kept / max(np.prod(box[2:] - box[:2]), 1e-6))
