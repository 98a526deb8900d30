"""Fine detail for enlarged pictures.

Whoever fills an enlarged picture is smooth; whoever stands close to a camera has hair, weave and pores. A network that
was trained on the former alone takes fine detail for a sign of small or of no people, and loses the latter
(docs/experiments.md, "Sharp people").
"""

from __future__ import annotations

import cv2
import numpy as np

SHARPEN = (0.5, 2.5)
"""Share of pictures whose own edges are sharpened, and by what factor at most."""
BORROW = (0.2, 1.2)
"""Range of the factor of the other picture's detail."""
REACH = (0.35, 0.65)
"""Range of the standard deviation of the blur that tells detail from the rest, in pixels of what was enlarged."""


def fine(image: np.ndarray, reach: float) -> np.ndarray:
    """What a Gaussian blur of `reach` pixels takes away from uint8 [H,W,3]: float32 [H,W,3] around 0."""
    image = image.astype(np.float32)
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), reach))


def patch(picture: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture at its own resolution, mirrored at its borders where it is too small."""
    height, width = shape[:2]
    missing = [max(0, side - have) for side, have in zip((height, width), picture.shape[:2], strict=True)]
    picture = cv2.copyMakeBorder(picture, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT)
    y, x = (int(rng.integers(have - side + 1)) for side, have in zip((height, width), picture.shape[:2], strict=True))
    return picture[y : y + height, x : x + width]


def add_detail(image: np.ndarray, donor: np.ndarray, enlarged: float, rng: np.random.Generator) -> np.ndarray:
    """A picture with sharper edges, perhaps, and the fine detail of another one.

    Args:
        image: uint8 [H,W,3].
        donor: uint8 [h,w,3], any other picture, at its own resolution.
        enlarged: By what factor, at least 1, the picture was enlarged; what is finer than its pixels were is added.
        rng: Chooses amounts, and the part of the donor.

    Returns:
        uint8 [H,W,3].
    """
    reach = rng.uniform(*REACH) * enlarged
    added = rng.uniform(*BORROW) * fine(patch(donor, image.shape, rng), reach)
    if rng.random() < SHARPEN[0]:
        added += rng.uniform(0.0, SHARPEN[1]) * fine(image, reach)
    return np.clip(image + added, 0, 255).astype(np.uint8)
