from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.align import hull_mask
from reports.artifacts import outline
from reports.artifacts.view import Pyramid

SIZE, STEP = 400, 4


@pytest.fixture
def points():
    """(478, 2) points of an ellipse with eyes where the mesh has them."""
    turn = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    found = np.column_stack([200 + 90 * np.cos(turn), 200 + 120 * np.sin(turn)])
    found[[33, 133]], found[[362, 263]] = (165, 180), (235, 180)
    return found.astype(np.float32)


@pytest.fixture
def skin():
    noise = np.random.default_rng(4).normal(0, 60, (SIZE, SIZE)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 6) + 120


def _line(grey, points, turned=False):
    if turned:
        grey, points = grey[::-1, ::-1], SIZE - 1 - points
    rgb = cv2.cvtColor(grey.round().clip(0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    found = outline.lines(Pyramid(rgb), points)
    return np.nan if found is None else found.max()


def _depth(points):
    mask = (hull_mask(points, SIZE, SIZE) > 0.5).astype(np.uint8)
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("deep", [8, 20])
def test_a_step_around_the_upper_face_is_seen_wherever_the_mask_ends(skin, points, sign, deep):
    pasted = skin + sign * STEP * (_depth(points) > deep)
    assert _line(skin, points) < 0.4
    assert _line(pasted, points) == pytest.approx(STEP / 2.55, rel=0.3)
    assert _line(pasted, points, turned=True) == pytest.approx(_line(pasted, points), abs=0.1)


def test_a_soft_edge_is_no_line_and_neither_is_one_around_the_chin(skin, points):
    soft = skin + 20 * np.clip((_depth(points) - 5) / 30, 0, 1)
    below = skin + STEP * ((_depth(points) > 12) & (np.indices(skin.shape)[0] > 200))
    assert max(_line(soft, points), _line(below, points)) < 0.5


def test_a_large_face_is_shrunk_and_a_small_one_left_out(skin, points):
    pasted = skin + STEP * (_depth(points) > 12)
    large = cv2.resize(pasted, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    assert _line(large, 5 * points + 2) > 0.6 * _line(pasted, points)
    small = cv2.resize(pasted, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert np.isnan(_line(small, 0.25 * points))


def test_a_line_counts_where_and_when_there_usually_is_none():
    hair = np.full((90, outline.DEPTHS), 0.2)
    hair[:, 3:6] = 2.0
    pasted = hair.copy()
    pasted[30:60, 12:15] = 1.2
    found = outline.strongest(pasted, 181, 9)
    assert found[30:60].min() == pytest.approx(1.0)
    assert outline.strongest(hair, 181, 9).max() == found[:26].max() == 0
