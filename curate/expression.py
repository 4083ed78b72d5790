"""Expression: what a face does, apart from whose it is and how it is turned.

Raw blendshapes tell people apart (open eyes differ, mouths rest differently) and follow the head's turn. Over the
footage of one subject both can be taken away: what a low-order function of yaw and pitch explains of each value, and
the subject's neutral, a winsorised mean of what is left. What remains is 0 at the subject's usual face. Named axes join
blendshapes with plain mesh distances in the head's own frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.mesh import AT, BLENDSHAPES
from curate.pose import fit_mesh
from curate.types import Floats

Doubles = NDArray[np.float64]

INDEX = {name: i for i, name in enumerate(BLENDSHAPES)}
GAZE = tuple(i for i, name in enumerate(BLENDSHAPES) if name.startswith("eyeLook"))
# Named axes: the mean of these blendshapes.
AXES: dict[str, tuple[str, ...]] = {
    "jawOpen": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "frown": ("mouthFrownLeft", "mouthFrownRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "eyeWide": ("eyeWideLeft", "eyeWideRight"),
    "browUp": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "browDown": ("browDownLeft", "browDownRight"),
}
DISTANCES = ("mouth opening", "mouth width", "eye opening")
"""In the units of the canonical mesh (cm of an average head)."""
FULL = {"jawOpen": ("mouth opening", 2.5), "smile": ("mouth width", 1.5), "blink": ("eye opening", -0.8)}
"""The distance that is half of an axis, and how far it goes (cm) from neutral to the end of the axis."""
WINSOR = 0.05
"""Values beyond these quantiles count as if they were at them."""
RIDGE = 0.02
"""Ridge per face, for pose in units of 30 degrees."""
LEAK = 0.2
"""Pose moves a value by no more than this a term at 30 degrees; who smiles whenever turned away still smiles."""
MIN_FACES_FOR_POSE = 50
"""With fewer faces pose is not taken away."""


def gaze(blendshapes: Floats) -> Floats:
    """(2,) gaze in the head from (52,) blendshapes: toward the subject's own left, and up; each -1..1."""
    b = {name: float(blendshapes[INDEX[name]]) for name in BLENDSHAPES if name.startswith("eyeLook")}
    left = b["eyeLookOutLeft"] - b["eyeLookInLeft"] + b["eyeLookInRight"] - b["eyeLookOutRight"]
    up = b["eyeLookUpLeft"] + b["eyeLookUpRight"] - b["eyeLookDownLeft"] - b["eyeLookDownRight"]
    return np.clip(np.array([left / 2, up / 2], np.float32), -1, 1)


def distances(points: NDArray[np.floating]) -> Floats:
    """(3,) DISTANCES of landmarks (478, 3) in 3-D, over the size of the head: turning changes them little."""
    scale = float(fit_mesh(points[None]).scale[0])

    def apart(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b])) / max(scale, 1e-6)

    eyes = apart(AT.right_eye_top, AT.right_eye_bottom) + apart(AT.left_eye_top, AT.left_eye_bottom)
    return np.array([apart(AT.lip_top, AT.lip_bottom), apart(AT.mouth_right, AT.mouth_left), eyes / 2], np.float32)


@dataclass(frozen=True, eq=False)
class Neutral:
    """What one subject's face is like when nothing happens, and how pose moves the readings."""

    slopes: Doubles
    """(5, 52 + 2 + 3) of blendshapes, gaze and distances on `_terms`."""
    level: Doubles
    """(57,) the neutral."""


@dataclass(frozen=True, eq=False)
class Expressions:
    """Of N faces; NaN where an input was."""

    shapes: Doubles
    """(N, 52) blendshapes above neutral, about -1..1."""
    gaze: Doubles
    """(N, 2) to the own left, and up, above the usual one."""
    axes: dict[str, Doubles]
    """Each of AXES: (N,), 0 neutral, about 1 at its end."""


def neutral_of(
    shapes: NDArray[np.floating],
    gazes: NDArray[np.floating],
    lengths: NDArray[np.floating],
    pose: NDArray[np.floating],
) -> Neutral:
    """The neutral of one subject from N of its faces.

    `shapes` (N, 52) blendshapes, `gazes` (N, 2), `lengths` (N, 3) DISTANCES, `pose` (N, 2+) yaw and pitch in degrees.
    Rows with a NaN do not count; without any row the neutral is 0.
    """
    values, terms = np.hstack([shapes, gazes, lengths]).astype(np.float64), _terms(pose)
    known = np.isfinite(values).all(1) & np.isfinite(terms).all(1)
    values, terms = values[known], terms[known]
    slopes = np.zeros((terms.shape[1], values.shape[1]))
    if not len(values):
        return Neutral(slopes, np.zeros(values.shape[1]))
    if len(values) >= MIN_FACES_FOR_POSE:
        x, y = terms - terms.mean(0), values - values.mean(0)
        slopes = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y).clip(-LEAK, LEAK)
    rest = values - terms @ slopes
    low, high = np.quantile(rest, (WINSOR, 1 - WINSOR), axis=0)
    return Neutral(slopes, np.clip(rest, low, high).mean(0))


def apply(
    neutral: Neutral,
    shapes: NDArray[np.floating],
    gazes: NDArray[np.floating],
    lengths: NDArray[np.floating],
    pose: NDArray[np.floating],
) -> Expressions:
    """Expressions of N faces (inputs as for `neutral_of`) above a neutral."""
    values = np.hstack([shapes, gazes, lengths]).astype(np.float64)
    rest = values - _terms(pose) @ neutral.slopes - neutral.level
    above, looks, far = rest[:, :52], rest[:, 52:54], rest[:, 54:]
    axes = {}
    for name, parts in AXES.items():
        axes[name] = above[:, [INDEX[part] for part in parts]].mean(1)
        if name in FULL:
            distance, full = FULL[name]
            axes[name] = (axes[name] + far[:, DISTANCES.index(distance)] / full) / 2
    return Expressions(above, looks, axes)


def _terms(pose: NDArray[np.floating]) -> Doubles:
    """(N, 5) yaw, pitch, their squares and product, in units of 30 degrees."""
    yaw, pitch = np.asarray(pose, np.float64)[:, :2].T / 30
    return np.column_stack([yaw, pitch, yaw**2, pitch**2, yaw * pitch])
