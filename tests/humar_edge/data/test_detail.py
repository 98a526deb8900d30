"""Added detail is fine, and comes from the other picture."""

import cv2
import numpy as np
import pytest

from humar_edge.data.detail import add_detail, fine, patch


@pytest.fixture
def smooth() -> np.ndarray:
    """A picture enlarged three times."""
    small = np.random.default_rng(1).integers(60, 190, (40, 50, 3), dtype=np.uint8)
    return cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def sharp() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (200, 260, 3), dtype=np.uint8)


def test_what_is_coarse_stays(smooth: np.ndarray, sharp: np.ndarray) -> None:
    for seed in range(20):
        made = add_detail(smooth, sharp, 3.0, np.random.default_rng(seed))
        before, after = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), 8) for x in (smooth, made))
        assert np.abs(after - before).max() < 12, seed
        assert fine(made, 0.7).std() > 1.5 * fine(smooth, 0.7).std(), seed


def test_a_donor_without_detail_gives_none() -> None:
    plain = np.full((30, 40, 3), 90, np.uint8)
    np.testing.assert_array_equal(
        add_detail(plain, np.full((9, 9, 3), 200, np.uint8), 2.0, np.random.default_rng(0)), plain
    )


def test_the_same_seed_gives_the_same_picture(smooth: np.ndarray, sharp: np.ndarray) -> None:
    first, second, other = (add_detail(smooth, sharp, 2.0, np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_more_enlarging_adds_coarser_detail(smooth: np.ndarray, sharp: np.ndarray) -> None:
    def coarse(enlarged: float) -> float:
        added = [
            add_detail(smooth, sharp, enlarged, np.random.default_rng(seed)).astype(np.float32) - smooth
            for seed in range(20)
        ]
        return float(np.mean([cv2.GaussianBlur(x, (0, 0), 1.2).std() for x in added]))

    assert coarse(4.0) > 1.5 * coarse(1.0)


@pytest.mark.parametrize("size", [(20, 30), (200, 260), (350, 300)])
def test_a_patch_has_the_size_asked_for_and_is_not_resampled(sharp: np.ndarray, size: tuple[int, int]) -> None:
    cut = patch(sharp, size, np.random.default_rng(3))
    assert cut.shape[:2] == size
    found = cv2.matchTemplate(sharp, np.ascontiguousarray(cut[:20, :30]), cv2.TM_SQDIFF)
    assert found.min() < 1000, "0, but for rounding; another part is off by 10,000,000"
