"""What the shape of the mesh says about the error of head pose."""

from __future__ import annotations

import numpy as np
import pytest

from curate.face import shape_bias
from curate.face.mesh import canonical, mirrored
from curate.face.pose import about, euler, fit_mesh, head_pose, matrix, unbiased


def seen(yaw: float, pitch: float, roll: float, bend: float = 0.0) -> np.ndarray:
    """The canonical head as landmarks (1, 468, 3), its nose bent by so many centimetres to image right."""
    model = canonical().vertices.copy()
    model[[1, 4], 0] += bend
    return (model @ matrix(yaw, pitch, roll).T * 10 * (1, -1, -1) + (200, 150, 0))[None]


def test_the_canonical_head_has_no_error() -> None:
    points = seen(35, -10, 5)
    fit = fit_mesh(points)
    found = shape_bias.terms(points, fit.scale, fit.rotation, fit.shift, np.array([35.0]))
    assert found.shape == (2, 1, len(shape_bias.WEIGHTS[0]))
    assert np.abs(found).max() < 1e-6


@pytest.mark.parametrize("angles", [(30, 10, -8), (-55, -15, 20)])
def test_a_mirror_changes_the_signs_of_yaw_and_roll_alone(angles: tuple[float, float, float]) -> None:
    random = np.random.default_rng(0)
    points = seen(*angles, bend=0.5) + random.normal(0, 1, (1, 468, 3))
    other = points[:, mirrored()[:468]] * (-1, 1, 1)
    a, b = head_pose(points), head_pose(other)
    assert (b.yaw[0], b.pitch[0], b.roll[0]) == pytest.approx((-a.yaw[0], a.pitch[0], -a.roll[0]), abs=1e-6)


def test_a_bent_nose_turns_the_head_and_no_shape_turns_it_far() -> None:
    for bend in (0.5, 50.0):
        points = seen(20, 0, 0, bend)
        fit = fit_mesh(points)
        plain, full = (matrix(*unbiased(points, fit, weights=w))[0] for w in (((0.0,) * 15,) * 3, None))
        moved = np.degrees(np.arccos((np.trace(plain.T @ full) - 1) / 2))
        assert 0.05 < moved < 1.8 * shape_bias.LARGEST


def test_rotations_about_axes() -> None:
    yaw, pitch, roll = euler(about(np.array([[0.0, 30, 0], [-20, 0, 0], [0, 0, 10], [0, 0, 0]])))
    assert np.column_stack([yaw, pitch, roll]) == pytest.approx(
        np.array([[30, 0, 0], [0, -20, 0], [0, 0, 10], [0, 0, 0]])
    )


def test_mirrored_points_are_where_a_mirror_puts_them() -> None:
    there = mirrored()
    assert (there[there] == np.arange(478)).all()
    assert (there[33], there[159], there[61], there[468], there[1]) == (263, 386, 291, 473, 1)
