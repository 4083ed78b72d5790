"""Faces that do not match their surroundings: a painted face with texture, blurred or not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.face.mesh import canonical
from reports.artifacts import match
from reports.artifacts.texture import NAMES, texture
from reports.artifacts.view import face_view


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    vertices = np.asarray(canonical().vertices, np.float64)
    points = np.column_stack([160 + 9 * vertices[:, 0], 165 - 9 * vertices[:, 1], -9 * vertices[:, 2]])
    return np.vstack([points, np.repeat(points[:1], 10, axis=0)]).astype(np.float32)


@pytest.fixture(scope="module")
def picture(marks: np.ndarray) -> np.ndarray:
    """(320, 320) luma: fine texture everywhere, and eyes, nose and mouth as dark shapes."""
    rng = np.random.default_rng(2)
    grey = 130 + cv2.GaussianBlur(rng.normal(0, 20, (320, 320)), (0, 0), 1.0)
    for group, size in (((33, 133), (12, 5)), ((362, 263), (12, 5)), ((1, 2), (9, 6)), ((61, 291), (20, 5))):
        x, y = marks[list(group), :2].mean(0)
        grey -= 60 * cv2.ellipse(np.zeros((320, 320)), (int(x), int(y)), size, 0, 0, 360, 1.0, -1)
    return np.clip(grey, 0, 255).astype(np.uint8)


def read(grey: np.ndarray, marks: np.ndarray) -> np.ndarray:
    view = face_view(grey, None, marks)
    assert view is not None
    return texture(view.output, view.zones, view.points(marks)).astype(np.float64)


def softened(grey: np.ndarray, sigma: float, marks: np.ndarray | None) -> np.ndarray:
    """The picture blurred, or only the face in it."""
    soft = cv2.GaussianBlur(grey, (0, 0), sigma)
    if marks is None:
        return soft
    face = cv2.convexHull(marks[:, :2].astype(np.int32))
    return np.where(cv2.fillConvexPoly(np.zeros_like(grey), face, 1) > 0, soft, grey)


def test_blur_takes_fine_detail_first_and_from_the_face_alone(picture, marks):
    sound, soft = (dict(zip(NAMES, read(p, marks), strict=True)) for p in (picture, softened(picture, 1.5, marks)))
    for region in ("face", "eyes", "nose", "mouth", "cheeks"):
        assert sound[f"{region}_fine"] - soft[f"{region}_fine"] > 1.0
        assert sound[f"{region}_fine"] - soft[f"{region}_fine"] > sound[f"{region}_coarse"] - soft[f"{region}_coarse"]
    assert abs(sound["ring_fine"] - soft["ring_fine"]) < 0.3


def test_a_face_softer_than_its_surroundings_matches_less(picture, marks):
    sound, face = match.log_odds(np.stack([read(p, marks) for p in (picture, softened(picture, 1.5, marks))]))
    assert face > sound + 3


def test_in_a_picture_that_is_soft_everywhere_nothing_can_be_said(picture, marks):
    values = read(softened(picture, 2.0, None), marks)[None]
    assert not match.readable(values)[0] and np.isnan(match.log_odds(values)[0])


def test_log_odds_last_and_every_other_frame_is_enough(picture, marks):
    rows = np.full((60, len(NAMES)), np.nan)
    rows[::2] = read(picture, marks)
    rows[30:34:2] = read(softened(picture, 3, marks), marks)
    found = match.unlike(rows, 25.0)
    assert np.isfinite(found).all() and np.ptp(found) < 1e-6, "a moment is no finding"
    rows[20:50:2] = read(softened(picture, 3, marks), marks)
    assert match.unlike(rows, 25.0)[35] > found[35] + 3


def test_other_landmarks_than_the_mesh_give_nothing(picture):
    view = face_view(picture, None, np.random.default_rng(0).uniform(80, 240, (68, 3)).astype(np.float32))
    assert view is not None
    values = texture(view.output, view.zones, np.zeros((68, 2)))
    assert np.isnan(values).all() and np.isnan(match.log_odds(values[None].astype(np.float64))).all()
