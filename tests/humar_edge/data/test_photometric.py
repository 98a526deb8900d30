"""Jitter changes light, not the names of colours."""

import cv2
import numpy as np
import pytest

from humar_edge.data.photometric import jitter


@pytest.mark.parametrize(("colour", "hue"), [((200, 30, 30), 0), ((30, 160, 40), 62), ((40, 60, 200), 116)])
def test_a_plain_colour_keeps_its_hue(colour: tuple[int, int, int], hue: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        image = jitter(np.full((32, 32, 3), colour, np.uint8), rng)
        mean = np.median(image.reshape(-1, 3), 0).astype(np.uint8)[None, None]
        found = int(cv2.cvtColor(mean, cv2.COLOR_RGB2HSV)[0, 0, 0])
        assert min(abs(found - hue), 180 - abs(found - hue)) < 14, mean


def test_the_same_seed_gives_the_same_picture() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    first, second = (jitter(image.copy(), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
