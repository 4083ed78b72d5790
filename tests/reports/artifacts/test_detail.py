from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.align import hull_mask
from reports.artifacts import detail
from reports.artifacts.view import Pyramid, face_view

FRAMES = 40


def _octaves(scene, landmarks, change):
    """(FRAMES, 6) values, every other one known; change(image, inside, frame) is the fault."""
    inside = hull_mask(landmarks, 240, 240)[..., None] > 0.5
    out = np.full((FRAMES, 6), np.nan)
    for i in range(0, FRAMES, 2):
        grain = np.random.default_rng(i).normal(0, 3, (240, 240, 1))
        image = change(scene(i).astype(np.float32) + grain.astype(np.float32), inside, i)
        picture = Pyramid(np.clip(image, 0, 255).round().astype(np.uint8))
        out[i] = detail.detail(picture, face_view(picture.grey, None, landmarks))
    return out


def _blurred(image, where, sigma):
    return np.where(where, cv2.GaussianBlur(image, (0, 0), sigma), image)


def test_a_face_that_is_blurred_for_a_while_lost_detail(scene, landmarks):
    found = _octaves(scene, landmarks, lambda image, inside, i: _blurred(image, inside & (15 <= i < 26), 1))
    lost = detail.lost(found, 2 * FRAMES + 1)
    assert lost[17:25].min() > 0.4
    assert np.abs(np.concatenate([lost[:12], lost[30:]])).max() < 0.1


def test_a_picture_that_is_blurred_as_a_whole_has_lost_no_detail_in_the_face(scene, landmarks):
    found = _octaves(scene, landmarks, lambda image, inside, i: _blurred(image, 15 <= i < 26, 1))
    assert detail.lost(found, 2 * FRAMES + 1).max() < 0.1


def test_a_face_that_softens_more_slowly_than_the_window_has_lost_nothing():
    octaves = np.zeros((400, 6))
    octaves[:, :2] = -np.linspace(0, 2, 400)[:, None]
    assert detail.lost(octaves, 41)[20:-20].max() == pytest.approx(0, abs=0.03)
    assert detail.lost(octaves, 801)[-20:].min() > 0.5


def test_of_a_large_face_a_band_across_the_middle_is_enough(scene, landmarks, monkeypatch):
    grain = np.random.default_rng(1).normal(0, 5, (960, 960, 1))
    picture = Pyramid(np.clip(cv2.resize(scene(0), (960, 960)) + grain, 0, 255).astype(np.uint8))
    view = face_view(picture.grey, None, 4 * landmarks)
    band = detail.detail(picture, view)
    monkeypatch.setattr(detail, "AREA", 10**9)
    whole = detail.detail(picture, view)
    assert (band != whole).any()
    assert band == pytest.approx(whole, abs=0.3)
