"""One shot, moved, is distinguished from another shot."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curate.footage.moved import likeness


def shapes(seed: int, x: float = 0, y: float = 0, zoom: float = 1) -> NDArray[np.float32]:
    """A picture (18, 32) of soft shapes, shifted and zoomed."""
    noise = np.random.default_rng(seed).normal(0, 1, (40, 64)).astype(np.float32)
    soft = 110 + 400 * cv2.GaussianBlur(noise, (0, 0), 2.0)
    move = np.array([[zoom, 0, 16 - 32 * zoom + x], [0, zoom, 9 - 20 * zoom + y]], np.float64)
    return cv2.warpAffine(soft, move, (32, 18)).astype(np.float32)


@pytest.mark.parametrize(("x", "y", "zoom"), [(0, 0, 1), (9, 0, 1), (-13, 1, 1), (2, -5, 1), (1, 1, 1.2), (0, 0, 0.83)])
def test_a_moved_picture_is_alike_in_any_light(x: float, y: float, zoom: float) -> None:
    for seed in range(5):
        assert likeness(shapes(seed), 0.6 * shapes(seed, x, y, zoom) + 20) > 0.9


def test_another_picture_is_not() -> None:
    found = [likeness(shapes(seed), shapes(seed + 100)) for seed in range(20)]
    assert max(found) < 0.82 and likeness(shapes(0), np.full((18, 32), 90, np.float32)) < 0.1
