"""iBUG's points from the mesh, and both programs' alignment against their published constructions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.exchange import layout
from curate.exchange.layout import MEAN_FACE, dfl_matrix, faceswap_matrix, ibug68, similarity
from curate.face.mesh import canonical

MIRRORED_JAW = [*range(16, -1, -1)]
MIRROR = [
    *MIRRORED_JAW, *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41,
    40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
"""The point on the other side of each point."""


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """iBUG's points of the canonical head in a frame: 20 px a cm, leaning by 20 degrees."""
    turn = 20 * np.array([[np.cos(0.35), np.sin(0.35)], [-np.sin(0.35), np.cos(0.35)]])
    points = canonical().vertices * (1, -1, -1)
    points[:, :2] = points[:, :2] @ turn.T + (640, 360)
    return ibug68(points)


def test_the_points_are_those_of_a_face_and_its_mirror() -> None:
    points = ibug68(canonical().vertices * (1, -1, -1))
    assert points.shape == (68, 2) and points.dtype == np.float32
    assert np.abs(points[MIRROR] * (-1, 1) - points).max() < 0.2, "cm"
    steps = np.linalg.norm(np.diff(points[:17], axis=0), axis=1)
    assert points[0, 0] < 0 and points[8, 1] == points[:, 1].max() and (np.diff(points[:17, 0]) > 0).sum() >= 14
    assert np.ptp(steps[:4]) < 0.6
    assert np.array_equal(ibug68(points), points), "68 points stay what they are"


def test_a_similarity_is_found_and_never_mirrors() -> None:
    chance = np.random.default_rng(0)
    points = chance.normal(size=(20, 2))
    true = np.array([[0.6, -0.8, 3.0], [0.8, 0.6, -2.0]])
    assert np.allclose(similarity(points, points @ true[:, :2].T + true[:, 2]), true)
    mirrored = similarity(points, points * (-1, 1))
    assert np.linalg.det(mirrored[:, :2]) >= 0


def deepfacelab(points: np.ndarray, size: int) -> np.ndarray:
    """Its get_transform_mat for WHOLE_FACE, from its description: three corners of the square in the frame."""
    chosen = [*range(17, 49), 54]
    mean = MEAN_FACE[np.array(chosen) - 17] - (0.009873, 0)
    # Umeyama (1991) by singular values, as it is there.
    a, b = points[chosen] - points[chosen].mean(0), mean - mean.mean(0)
    u, singular, vt = np.linalg.svd(b.T @ a / len(a))
    turn = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt * singular.sum() / a.var(0).sum()
    unit = np.column_stack([turn, mean.mean(0) - turn @ points[chosen].mean(0)])
    back = cv2.invertAffineTransform(unit)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)]) @ back[:, :2].T + back[:, 2]
    down_right, up_right = corners[2] - corners[0], corners[1] - corners[3]
    reach = np.linalg.norm(down_right) * (0.40 * np.sqrt(2) + 0.5)
    centre = corners[4] + 0.07 * (corners[0] - corners[3])
    a, b = (v / np.linalg.norm(v) * reach for v in (down_right, up_right))
    square = np.array([centre - a, centre + b, centre + a], np.float32)
    return cv2.getAffineTransform(square, np.array([(0, 0), (size, 0), (size, size)], np.float32))


def test_deepfacelab_s_whole_face(face) -> None:
    ours, theirs = dfl_matrix(face, 512), deepfacelab(face, 512)
    apart = (face @ ours[:, :2].T + ours[:, 2]) - (face @ theirs[:, :2].T + theirs[:, 2])
    assert np.abs(apart).max() < 0.1


def test_faceswap_s_centrings(face) -> None:
    legacy = faceswap_matrix(face, 256, "legacy")
    inside = (face[17:] @ legacy[:, :2].T + legacy[:, 2] - 48) / 160
    assert np.abs(inside - MEAN_FACE).mean() < 0.05, "the mean face fills the middle .625 of the picture"
    for centring, padding in (("head", 80), ("face", 64)):
        matrix = faceswap_matrix(face, 256, centring)
        unit = similarity(face[17:], MEAN_FACE)
        assert np.allclose(matrix[:, :2], unit[:, :2] * (256 - 2 * padding))
        back = cv2.invertAffineTransform(matrix)
        middle = np.array([128.0, 128.0]) @ back[:, :2].T + back[:, 2]
        # The middle of a head seen from the front lies on its axis: between the eyes and near them, the face's lower.
        along = unit[:, :2] @ middle + unit[:, 2]
        assert abs(along[0] - 0.5) < 0.05 and (along[1] < 0.45 if centring == "head" else 0.3 < along[1] < 0.6)


def test_faceswap_s_centre_of_a_turned_head_lies_behind_the_face() -> None:
    angle = np.radians(35)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points = ibug68(canonical().vertices @ turn.T * (20, -20, -20) + (640, 360, 0))
    middle = {}
    for centring in ("face", "head"):
        back = cv2.invertAffineTransform(faceswap_matrix(points, 256, centring))
        middle[centring] = (np.array([128.0, 128.0]) @ back[:, :2].T + back[:, 2]) / 20
    # The points lie 6.5 units apart in depth in its head model of about a canonical centimetre: 3.7 at 35 degrees.
    assert 2.5 < middle["face"][0] - middle["head"][0] < 5


def test_the_raised_hull_holds_the_hull(face) -> None:
    raised = layout.raised_hull(face)
    assert all(cv2.pointPolygonTest(raised.reshape(-1, 1, 2), tuple(map(float, p)), True) > -0.01 for p in face)
    assert cv2.contourArea(raised) > 1.02 * cv2.contourArea(cv2.convexHull(face))
