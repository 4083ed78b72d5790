"""Expression of a face, independent of identity and head pose.

Raw blendshapes tell people apart (open eyes differ, mouths rest differently) and follow the head's turn. Over the
footage of one subject both can be taken away: what a low-order function of yaw and pitch explains of each value, and
the subject's neutral, read from the faces at rest: the least lively ones. What remains is 0 at the subject's resting
face, however rare that is in the footage; the usual gaze is that of all faces. Named axes join
blendshapes with plain mesh distances in the head's own frame. The landmarker presses lips and lids together when the
head tilts; how much was measured on heads of known openings (benchmarks/calibrate.py), and is undone for all alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.axes import EXPRESSION
from curate.face.mesh import AT, BLENDSHAPES
from curate.face.pose import fit_mesh, zero
from curate.types import Floats

Doubles = NDArray[np.float64]

INDEX = {name: i for i, name in enumerate(BLENDSHAPES)}
GAZE = tuple(i for i, name in enumerate(BLENDSHAPES) if name.startswith("eyeLook"))
AXES: dict[str, tuple[str, ...]] = {axis.name: axis.blendshapes for axis in EXPRESSION}
"""Blendshapes whose mean is a named axis."""
DISTANCES = ("mouth opening", "mouth width", "eye opening")
"""In the units of the canonical mesh (cm of an average head). Openings are along the head's own upright, and less than
0 where the mesh's lips or lids cross."""
FULL = {
    "jawOpen": ("mouth opening", 2.5, 0.75),
    "smile": ("mouth width", 1.5, 0.5),
    "blink": ("eye opening", -0.8, 0.75),
}
"""Per axis: the distance combined with its blendshapes, its range (cm) from neutral, and its share of the axis."""
LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
LIDS = ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))
TILTS = {"mouth opening": (0.213, 0.641, 0.122, 0.113, -0.143), "eye opening": (-0.040, -0.020, -0.061, -0.020, 0.066)}
"""What is added to an opening d (cm): these times p, p^2, p d, y^2, y^2 d with p the pitch from the subject's zero and
y the yaw, in units of 30 degrees."""
REST_SHARE, REST_ROOM, REST_FACES = 0.03, 0.06, 10
"""A face is at rest if it is at most REST_ROOM livelier (`liveliness`) than the least lively REST_SHARE of all; fewer
than REST_FACES are not enough."""
SUSTAINED = 8
"""Faces in order over which liveliness is averaged at most: noise alone does not make a face calm."""
RESTLESS: dict[str, tuple[tuple[str, ...], float, str, float]] = {
    "an open mouth": (("jawOpen",), 0.2, "mouth opening", 0.6),
    "a smile": (("mouthSmileLeft", "mouthSmileRight"), 0.4, "mouth width", 6.5),
}
"""Blendshapes whose mean is beyond a limit, or a distance (cm) beyond its own, in no face at rest."""
WINSOR = 0.05
"""Values beyond these quantiles count as if they were at them."""
RIDGE = 0.02
"""Ridge per face, for pose in units of 30 degrees."""
LEAK = 0.2
"""Pose moves a value by no more than this a term at 30 degrees; who smiles whenever turned away still smiles."""
MIN_FACES_FOR_POSE = 50
"""Number of faces below which values are not corrected for pose."""


def gaze(blendshapes: Floats) -> Floats:
    """(2,) gaze in the head from (52,) blendshapes: toward the subject's own left, and up; each -1..1."""
    b = {name: float(blendshapes[INDEX[name]]) for name in BLENDSHAPES if name.startswith("eyeLook")}
    left = b["eyeLookOutLeft"] - b["eyeLookInLeft"] + b["eyeLookInRight"] - b["eyeLookOutRight"]
    up = b["eyeLookUpLeft"] + b["eyeLookUpRight"] - b["eyeLookDownLeft"] - b["eyeLookDownRight"]
    return np.clip(np.array([left / 2, up / 2], np.float32), -1, 1)


def distances(points: NDArray[np.floating]) -> Floats:
    """(3,) DISTANCES of landmarks (478, 3), over the size of the head, as the mesh has them."""
    fit = fit_mesh(points[None])
    own = (points * (1, -1, -1)) @ fit.rotation[0] / max(float(fit.scale[0]), 1e-6)
    lips, lids = ((own[[a for a, _ in pairs]] - own[[b for _, b in pairs]])[:, 1].mean() for pairs in (LIPS, LIDS))
    return np.array([lips, np.linalg.norm(own[AT.mouth_right] - own[AT.mouth_left]), lids], np.float32)


def untilted(lengths: NDArray[np.floating], pose: NDArray[np.floating], zero: float) -> Doubles:
    """(N, 3) DISTANCES without what tilt and turn of the head do to them (TILTS).

    `pose` (N, 2+) yaw and pitch in degrees, `zero` the pitch that is the subject's 0.
    """
    out = np.array(lengths, np.float64)
    yaw, pitch = np.asarray(pose, np.float64)[:, 0] / 30, (np.asarray(pose, np.float64)[:, 1] - zero) / 30
    for name, tilts in TILTS.items():
        opening = out[:, DISTANCES.index(name)]
        terms = (pitch, pitch**2, pitch * opening, yaw**2, yaw**2 * opening)
        opening += sum(t * term for t, term in zip(tilts, terms, strict=True))
    return out


@dataclass(frozen=True, eq=False)
class Neutral:
    """Neutral face of one subject, and the influence of pose on the measured values."""

    slopes: Doubles
    """(5, 52 + 2 + 3) of blendshapes, gaze and distances on `_terms`."""
    level: Doubles
    """(57,) the neutral."""
    zero: float
    """Pitch in degrees that is the subject's 0."""


@dataclass(frozen=True, eq=False)
class Expressions:
    """Expressions of N faces; NaN where an input was NaN."""

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
    """Neutral of one subject from N of its faces.

    `shapes` (N, 52) blendshapes, `gazes` (N, 2), `lengths` (N, 3) DISTANCES, `pose` (N, 2+) yaw and pitch in degrees.
    Rows with a NaN do not count; without any row the neutral is 0.
    """
    known = np.isfinite(np.hstack([shapes, gazes, lengths, pose[:, :2]])).all(1)
    shapes, gazes, lengths, pose = shapes[known], gazes[known], lengths[known], pose[known]
    level = zero(pose[:, 1], pose[:, 0], np.ones(len(pose)))
    values = np.hstack([shapes, gazes, untilted(lengths, pose, level)]).astype(np.float64)
    terms = _terms(pose)
    slopes = np.zeros((terms.shape[1], values.shape[1]))
    if not len(values):
        return Neutral(slopes, np.zeros(values.shape[1]), level)
    if len(values) >= MIN_FACES_FOR_POSE:
        x, y = terms - terms.mean(0), values - values.mean(0)
        slopes = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y).clip(-LEAK, LEAK)
    rest = values - terms @ slopes
    usual, resting = _winsorised(rest), _winsorised(rest[at_rest(rest)])
    resting[52:54] = usual[52:54]  # gaze
    return Neutral(slopes, resting, level)


def never_rests(neutral: Neutral) -> tuple[str, ...]:
    """What even the calmest faces of a neutral do, of RESTLESS: then the neutral is not the face at rest."""
    return tuple(
        name
        for name, (blendshapes, limit, distance, furthest) in RESTLESS.items()
        if np.mean([neutral.level[INDEX[part]] for part in blendshapes]) > limit
        or neutral.level[54 + DISTANCES.index(distance)] > furthest
    )


def liveliness(values: NDArray[np.floating]) -> Doubles:
    """(N,) the sum of the named axes and of the lips' opening, from blendshapes, gaze and distances (N, 57)."""
    axes = [values[:, [INDEX[part] for part in parts]].mean(1) for parts in AXES.values()]
    lips = values[:, 54 + DISTANCES.index("mouth opening")] / FULL["jawOpen"][1]
    return np.asarray(np.stack(axes, 1).sum(1) + lips)


def at_rest(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) whether each face is at rest; all of them where there are too few to tell."""
    lively = liveliness(values)
    width = min(SUSTAINED, max(len(lively) // 50, 1))
    padded = np.pad(lively, (width // 2, width - 1 - width // 2), "edge")
    smooth = np.convolve(padded, np.full(width, 1 / width), "valid")
    calm = np.asarray(smooth <= np.quantile(smooth, REST_SHARE) + REST_ROOM)
    return calm if calm.sum() >= REST_FACES else np.ones(len(lively), bool)


def _winsorised(values: Doubles) -> Doubles:
    low, high = np.quantile(values, (WINSOR, 1 - WINSOR), axis=0)
    return np.asarray(np.clip(values, low, high).mean(0))


def apply(
    neutral: Neutral,
    shapes: NDArray[np.floating],
    gazes: NDArray[np.floating],
    lengths: NDArray[np.floating],
    pose: NDArray[np.floating],
) -> Expressions:
    """Expressions of N faces (inputs as for `neutral_of`) above a neutral."""
    values = np.hstack([shapes, gazes, untilted(lengths, pose, neutral.zero)]).astype(np.float64)
    rest = values - _terms(pose) @ neutral.slopes - neutral.level
    above, looks, far = rest[:, :52], rest[:, 52:54], rest[:, 54:]
    axes = {}
    for name, parts in AXES.items():
        axes[name] = above[:, [INDEX[part] for part in parts]].mean(1)
        if name in FULL:
            distance, full, share = FULL[name]
            axes[name] = (1 - share) * axes[name] + share * far[:, DISTANCES.index(distance)] / full
    return Expressions(above, looks, axes)


def _terms(pose: NDArray[np.floating]) -> Doubles:
    """(N, 5) yaw, pitch, their squares and product, in units of 30 degrees."""
    yaw, pitch = np.asarray(pose, np.float64)[:, :2].T / 30
    return np.column_stack([yaw, pitch, yaw**2, pitch**2, yaw * pitch])
