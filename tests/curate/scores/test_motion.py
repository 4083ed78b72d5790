"""Motion blur against defocus, and landmarks that jump, on faces that are made here."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.align import crop_matrix, transform
from curate.face.mesh import canonical
from curate.face.pose import matrix
from curate.scores import motion, quality, steadiness


def head(yaw: float = 0.0, pitch: float = 0.0, at: tuple[float, float] = (128, 128)) -> np.ndarray:
    return canonical().vertices @ matrix(yaw, pitch, 0).T * 10 * (1, -1, -1) + (*at, 0)


@pytest.fixture(scope="module")
def textured() -> tuple[np.ndarray, np.ndarray]:
    """Luma of a face with detail of every size, and its landmarks in the crop."""
    random = np.random.default_rng(7)
    layers = [
        cv2.GaussianBlur(random.normal(0, 1, (256, 256)).astype(np.float32), (0, 0), s) * s for s in (0.7, 1.5, 4)
    ]
    grey = np.clip(130 + 35 * sum(layers), 0, 255).astype(np.float32)
    return grey, transform(head(), crop_matrix(head(), "full", 256))


def streak(grey: np.ndarray, length: int, degrees: float) -> np.ndarray:
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    middle = ((length - 1) / 2, (length - 1) / 2)
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D(middle, degrees, 1), (length, length))
    return cv2.filter2D(grey, -1, turned / turned.sum())


@pytest.mark.parametrize("degrees", [0, 35, 90, 150])
def test_motion_blur_grows_with_the_streak_in_any_direction(textured, degrees: float) -> None:
    grey, points = textured
    found = [motion.blur(streak(grey, length, degrees) if length > 1 else grey, points) for length in (1, 5, 11)]
    assert found[0] < 0.2 and found[1] > found[0] + 0.3 and found[2] > found[1] - 0.1


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
def test_defocus_is_no_motion(textured, sigma: float) -> None:
    grey, points = textured
    assert motion.blur(cv2.GaussianBlur(grey, (0, 0), sigma), points) < 0.25
    assert motion.blur(grey * 0.4 + 60, points) == pytest.approx(motion.blur(grey, points), abs=0.1)


def test_motion_blur_of_faces_without_detail_or_beyond_the_crop(textured) -> None:
    grey, points = textured
    assert motion.blur(np.full((256, 256), 90, np.float32), points) == pytest.approx(0, abs=0.3)
    assert np.isfinite(motion.blur(grey, points * 40)) and np.isfinite(motion.blur(grey, points - 900))


def track(count: int = 12) -> np.ndarray:
    """Landmarks of a head that turns, nods, comes nearer and moves across."""
    return np.stack([head(4 * i, 3 * np.sin(i), (100 + 5 * i, 120)) * (1 + 0.02 * i) for i in range(count)])


def test_a_head_that_moves_does_not_jump() -> None:
    found = steadiness.jumps(track(), np.arange(12) / 25)
    assert np.isnan(found[[0, -1]]).all() and np.nanmax(found) < 1e-6


def test_a_slipped_mesh_and_noise_jump_by_as_much_as_they_slip() -> None:
    random, plain = np.random.default_rng(2), track()
    slipped = plain.copy()
    slipped[5] = head(20) * (0.8, 1.2, 1) + (30, 0, 0)
    found = steadiness.jumps(slipped, np.arange(12) / 25)
    assert found[5] > 0.5 and found[[1, 2, 9, 10]].max() < 1e-6
    levels = [
        np.nanmedian(steadiness.jumps(plain + random.normal(0, s, plain.shape), np.arange(12) / 25)) for s in (1, 2, 4)
    ]
    assert levels == sorted(levels) and levels[2] == pytest.approx(4 * levels[0], rel=0.5)
    low, high = quality.scalar("LandmarkJump", np.array([levels[2], 0.02]))
    assert low < 30 and high > 90


def test_a_blink_and_a_mouth_that_opens_are_no_jump() -> None:
    talks = track()
    lips, lids = [13, 14, 82, 87, 312, 317], [159, 145, 386, 374]
    talks[6][lips, 1] += 20
    talks[6][lids, 1] += 5
    assert np.nanmax(steadiness.jumps(talks, np.arange(12) / 25)) < 1e-6


def test_frames_far_apart_are_no_neighbours() -> None:
    times = np.concatenate([np.arange(6) / 25, 10 + np.arange(6) / 25])
    assert np.isnan(steadiness.jumps(track(), times)).nonzero()[0].tolist() == [0, 5, 6, 11]
    assert np.isnan(steadiness.jumps(track(1), np.zeros(1))).all()
    assert np.isnan(steadiness.jumps(track()[:0], np.zeros(0))).all()
