"""From the engine's outputs back to pixels of the source frame."""

from __future__ import annotations

import cv2
import numpy as np

from humar_edge.runtime.preprocess import Letterbox

_MASK_MARGIN = 0.1
"""The mask is computed in the box widened by this share of its sides (and one mask cell)."""


def decode_box(box: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """A box cxcywh in [0, 1] of the canvas, [1, 4], as float32 [4] xyxy in source pixels, clipped to the frame."""
    centre, size = box.reshape(2, 2).astype(np.float64)
    height, width = letterbox.source_size
    corners = letterbox.to_source(np.stack([centre - size / 2, centre + size / 2]))
    return np.clip(corners, 0, [width, height]).astype(np.float32).ravel()


def decode_keypoints(keypoints: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Keypoints [1, 17, 3] on the canvas as float32 [17, 3]: source pixels and visibility."""
    points = keypoints[0].astype(np.float64)
    return np.concatenate([letterbox.to_source(points[:, :2]), points[:, 2:]], axis=1).astype(np.float32)


def decode_mask(logits: np.ndarray, box_xyxy: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Mask logits [1, h, w] of the whole canvas as a bool mask [H, W] of the source frame.

    The padded part is cut off, the rest is resized bilinearly and thresholded at 0, only inside the widened box
    (source pixels): a full-size interpolation of a 4K frame would cost more than the network.
    """
    height, width = letterbox.source_size
    mask = np.zeros((height, width), dtype=bool)
    grid = logits[0].astype(np.float32, copy=False)
    # Mask cells per source pixel.
    step = letterbox.scale_xy * np.array(grid.shape[::-1]) / letterbox.canvas_wh
    corners = box_xyxy.reshape(2, 2).astype(np.float64)
    margin = _MASK_MARGIN * (corners[1] - corners[0]) + 1 / step
    left, top = np.floor(np.maximum(corners[0] - margin, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(corners[1] + margin, [width, height])).astype(int)
    if right <= left or bottom <= top:
        return mask
    columns, rows = np.ceil(np.array(letterbox.content_size[::-1]) * step / letterbox.scale_xy).astype(int)
    # Pixel centres: source pixel u lies at (u + 0.5) * step - 0.5 in the grid.
    shift = (np.array([left, top]) + 0.5) * step - 0.5
    matrix = np.array([[step[0], 0.0, shift[0]], [0.0, step[1], shift[1]]])
    values = cv2.warpAffine(
        np.ascontiguousarray(grid[:rows, :columns]),
        matrix,
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask[top:bottom, left:right] = values > 0
    return mask
