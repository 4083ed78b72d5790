"""Head pose, expression, gaze and the place of the features, from landmarks. Pure functions, array in, numbers out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import AT, FACE_OVAL
from curate.face.pose import euler, fit_mesh
from curate.scores.expression import DISTANCES, LIDS, LIPS
from curate.types import Floats

SHAPE = (
    "nose_x", "nose_y", "nostrils_x", "nose_width", "right_eye_x", "right_eye_y", "left_eye_x", "left_eye_y",
    "right_eye_width", "left_eye_width", "mouth_x", "mouth_tilt",
)  # fmt: skip
"""Place of the features that no expression moves, or moves on both sides alike; see `shape`."""
PARTS = ("nose", "nose", "nose", "nose", "right eye", "right eye", "left eye", "left eye", "right eye", "left eye",
         "mouth", "mouth")  # fmt: skip
"""Region of each of SHAPE, by its name in `patch.REGIONS`."""
NAMES = ("yaw", "pitch", "roll", "opening", "mouth_width", "lids", "gaze_x", "gaze_y", *SHAPE)
"""Degrees three times; cm of an average head three times (`curate.scores.expression.DISTANCES`); the irises between the
corners of the eyes, in eye widths, toward image right and up in the head; then SHAPE."""
FIRST = NAMES.index(SHAPE[0])
"""Position of the first of SHAPE."""
assert DISTANCES == ("mouth opening", "mouth width", "eye opening")
_NOSE, _NOSTRILS, _WINGS = (1, 4, 5, 195), (2, 98, 327), (129, 358)
_EYES = ((33, 133), (362, 263))
_MOUTH = (61, 291, 0, 17, 13, 14)


def read(points: NDArray[np.floating] | None) -> Floats:
    """(20,) float32 values of NAMES from landmarks (N, 2|3); NaN where the landmarks do not suffice."""
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
    out[FIRST:] = shape(own)
    return out


def shape(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """(12,) values of SHAPE in cm of an average head, from mesh points (N, 3) in the head's frame, x to image right.

    Places are relative to the middle of the eyes and the chin's line: a head that moves or grows keeps them.
    """
    right, left = (own[list(corners)] for corners in _EYES)
    origin = np.concatenate([right, left]).mean(0)
    nose, nostrils, mouth = (own[list(group)].mean(0) - origin for group in (_NOSE, _NOSTRILS, _MOUTH))
    outline = own[list(FACE_OVAL)].mean(0) - origin
    eyes = [eye.mean(0) - origin - outline for eye in (right, left)]
    widths = [np.linalg.norm(np.diff(points, axis=0)) for points in (own[list(_WINGS)], right, left)]
    tilt = own[AT.mouth_left, 1] - own[AT.mouth_right, 1]
    return np.array([
        *nose[:2], nostrils[0], widths[0], *eyes[0][:2], *eyes[1][:2], *widths[1:], mouth[0], tilt
    ])  # fmt: skip
