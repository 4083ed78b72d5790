"""Head pose, expression and gaze from landmarks. Pure functions, array in, numbers out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import AT
from curate.face.pose import euler, fit_mesh
from curate.scores.expression import DISTANCES, LIDS, LIPS
from curate.types import Floats

NAMES = ("yaw", "pitch", "roll", "opening", "mouth_width", "lids", "gaze_x", "gaze_y")
"""Degrees three times; cm of an average head three times (`curate.scores.expression.DISTANCES`); the irises between the
corners of the eyes, in eye widths, toward image right and up in the head."""
assert DISTANCES == ("mouth opening", "mouth width", "eye opening")


def read(points: NDArray[np.floating] | None) -> Floats:
    """(8,) float32 values of NAMES from landmarks (N, 2|3); NaN where the landmarks do not suffice."""
    out = np.full(len(NAMES), np.nan, np.float32)
    if points is None or len(points) < 468 or points.shape[1] < 3:
        return out
    fit = fit_mesh(points[None])
    out[:3] = [float(a[0]) for a in euler(fit.rotation)]
    own = (np.asarray(points, np.float64) * (1, -1, -1)) @ fit.rotation[0] / max(float(fit.scale[0]), 1e-6)
    out[3], out[5] = ((own[[a for a, _ in pairs]] - own[[b for _, b in pairs]])[:, 1].mean() for pairs in (LIPS, LIDS))
    out[4] = np.linalg.norm(own[AT.mouth_right] - own[AT.mouth_left])
    if len(points) >= 478:
        looks = []
        for iris, outer, inner in (
            (AT.right_iris, AT.right_eye_outer, AT.right_eye_inner),
            (AT.left_iris, AT.left_eye_outer, AT.left_eye_inner),
        ):
            middle = (own[outer] + own[inner]) / 2
            looks.append((own[iris] - middle)[:2] / max(float(np.linalg.norm(own[outer] - own[inner])), 1e-6))
        out[6:8] = np.mean(looks, axis=0)
    return out
