"""The footage's light on the swapped face: its slope and bend are taken over, the footage's features are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from render.compositing.relight import relit, shading

SIDE = 96
X, Y = (np.mgrid[:SIDE, :SIDE][n].astype(np.float32) / (SIDE - 1) * 2 - 1 for n in (1, 0))
MASK = (np.hypot(X, Y / 1.2) < 0.75).astype(np.float32)


def face(seed: int, light: np.ndarray, skin: tuple[float, float, float]) -> np.ndarray:
    """A textured face (SIDE, SIDE, 3) in 0..1 under a gain."""
    texture = cv2.GaussianBlur(np.random.default_rng(seed).normal(1, 0.2, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.5)
    return np.clip(np.array(skin, np.float32) * (texture * light)[..., None], 0, 1).astype(np.float32)


def slope(rgb: np.ndarray, channel: int) -> float:
    """Of the log across the face."""
    where = MASK > 0
    return float(np.polyfit(X[where], np.log(rgb[..., channel][where] + 0.02), 1)[0])


def test_light_from_the_other_side_and_of_another_colour_is_taken_over():
    mine, theirs = face(0, np.exp(0.25 * X), (0.5, 0.42, 0.38)), face(1, np.exp(-0.3 * X), (0.3, 0.26, 0.2))
    theirs[..., 2] *= np.exp(0.25 * X)
    theirs[MASK == 0] = 1
    after = relit(mine, shading(mine, theirs, MASK), MASK)
    assert slope(mine, 1) - slope(theirs, 1) > 0.45
    for channel in (0, 2):
        assert slope(after, channel) == pytest.approx(slope(theirs, channel), abs=0.06)
    brightness = [np.log(image[MASK > 0] + 0.02).mean() for image in (mine, after)]
    assert brightness[1] == pytest.approx(brightness[0], abs=0.05), "the mean is the colour transfer's"
    half = relit(mine, 0.5 * shading(mine, theirs, MASK), MASK)
    assert slope(after, 1) < slope(half, 1) < slope(mine, 1)


def test_a_fringe_and_a_shadow_under_the_nose_are_not_light():
    light = np.exp(0.2 * Y)
    mine, theirs = face(0, light, (0.5, 0.42, 0.38)), face(1, light, (0.6, 0.5, 0.45))
    theirs[(Y < -0.55) & (X > 0.1)] *= 0.15
    theirs[(np.abs(X) < 0.15) & (np.abs(Y - 0.2) < 0.1)] *= 0.3
    gain = relit(mine, shading(mine, theirs, MASK), MASK) / mine
    inside = (MASK > 0) & (Y > -0.4)
    assert np.abs(np.log(gain[inside])).mean() < 0.06


def test_a_face_that_is_hidden_is_left_alone():
    mine, theirs = face(0, np.exp(X), (0.5, 0.4, 0.4)), face(1, np.exp(-X), (0.5, 0.4, 0.4))
    small = MASK * (np.hypot(X, Y) < 0.05)
    assert not shading(mine, theirs, small).any() and not shading(mine, theirs, 0 * MASK).any()
    assert relit(mine, shading(mine, theirs, MASK), 0 * MASK) is mine
