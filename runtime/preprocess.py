"""From a picture of any kind to the engine's canvas.

The letterbox scales the picture so that it fits, puts it into the top-left corner and pads the rest with 114. The
scale is kept per axis: the scaled size is rounded to whole pixels, so the two scales differ a little (a lot for
pictures one pixel high), and using the exact ones keeps the way back exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from humar_edge.bundle import PREPROCESSING
from humar_edge.errors import SourceError

PAD_VALUE: int = PREPROCESSING["pad_value"]

# Below this scale bilinear sampling skips pixels and aliases; averaging does not.
_AREA_BELOW = 0.5


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies on the canvas; sizes are (height, width).

    Attributes:
        source_size: Size of the picture.
        canvas_size: Size of the canvas.
        content_size: Size of the scaled picture in the canvas's top-left corner.
    """

    source_size: tuple[int, int]
    canvas_size: tuple[int, int]
    content_size: tuple[int, int]

    @classmethod
    def fit(cls, source_size: tuple[int, int], canvas_size: tuple[int, int]) -> Letterbox:
        """The largest scaling that fits into the canvas; the aspect ratio is kept, with at least one pixel each way."""
        scale = min(canvas / source for canvas, source in zip(canvas_size, source_size, strict=True))
        height, width = (
            min(max(round(source * scale), 1), canvas) for source, canvas in zip(source_size, canvas_size, strict=True)
        )
        return cls(source_size, canvas_size, (height, width))

    @property
    def scale_xy(self) -> np.ndarray:
        """float64 [2]: canvas pixels per source pixel, horizontally and vertically."""
        (source_h, source_w), (content_h, content_w) = self.source_size, self.content_size
        return np.array([content_w / source_w, content_h / source_h])

    @property
    def canvas_wh(self) -> np.ndarray:
        """float64 [2]: width and height of the canvas."""
        return np.array(self.canvas_size[::-1], dtype=np.float64)

    def to_canvas(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] from source pixels to [0, 1] of the canvas."""
        return points * self.scale_xy / self.canvas_wh

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] from [0, 1] of the canvas to source pixels."""
        return points * self.canvas_wh / self.scale_xy


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame on the canvas: `image` uint8 [1, H, W, 3] RGB (its own memory) and where the frame lies in it."""

    image: np.ndarray
    letterbox: Letterbox


def prepare(frame: np.ndarray, canvas_size: tuple[int, int]) -> Prepared:
    """Letterbox a frame (any kind that `as_bgr` takes) onto a canvas of (height, width)."""
    bgr = as_bgr(frame)
    geometry = Letterbox.fit((bgr.shape[0], bgr.shape[1]), canvas_size)
    height, width = geometry.content_size
    method = cv2.INTER_AREA if geometry.scale_xy.max() < _AREA_BELOW else cv2.INTER_LINEAR
    scaled = bgr if (height, width) == bgr.shape[:2] else cv2.resize(bgr, (width, height), interpolation=method)
    canvas = np.full((1, *canvas_size, 3), PAD_VALUE, dtype=np.uint8)
    canvas[0, :height, :width] = cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB)
    return Prepared(canvas, geometry)


def as_bgr(image: np.ndarray) -> np.ndarray:
    """A picture as uint8 BGR [H, W, 3].

    Takes 8-bit and 16-bit pictures: grey [H, W] or [H, W, 1], grey with alpha [H, W, 2], BGR, and BGRA. Alpha is
    dropped.

    Raises:
        SourceError: Another shape or type.
    """
    if not isinstance(image, np.ndarray):
        raise SourceError(f"a frame must be a numpy array, got {type(image).__name__}")
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise SourceError(f"a frame must have shape [H, W] or [H, W, 1 to 4], got {list(image.shape)}")
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise SourceError(f"a frame must be 8-bit or 16-bit unsigned, got {image.dtype}; scale it to uint8 0 to 255")
    if image.ndim == 2 or image.shape[2] <= 2:
        grey = image if image.ndim == 2 else image[..., 0]
        return cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 BGR [H, W, 3], upright according to its EXIF data. Any Unicode path works.

    Raises:
        SourceError: The file is missing or not a picture.
    """
    path = Path(path)
    try:
        # Not cv2.imread: it prints warnings of its own and fails on Unicode paths on Windows.
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path}: not a picture that OpenCV can read")
    return image
