"""Error of the head pose that the shape of the mesh gives away.

Where the landmarker reads a head's turn wrongly, it bends the mesh: the nose points further to a side than the outline
says, an ear comes forward. How far a few parts of the mesh stand off the canonical head, in the head's own axes, so
tells a part of the error; left and right are treated alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import canonical, mirrored

Doubles = NDArray[np.float64]
Weights = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
MIDDLE: dict[str, tuple[int, ...]] = {"forehead": (10, 151, 9), "nose tip": (1, 4), "chin": (152, 175)}
SIDE: dict[str, tuple[int, ...]] = {"ear": (234, 127, 93)}
"""Mesh points of the parts; of a pair the subject's right one."""
FURTHEST = 0.8
"""Centimetres off the canonical head beyond which a part says no more."""
USUAL_YAW = 45.0
"""Degrees: unit of the yaw by which parts are multiplied."""
LARGEST = 20.0
"""Degrees of turn about an axis that are undone at most."""
WEIGHTS: Weights = (
    (0.0, 1.06, -1.65, -0.66, 0.51, -1.72, -0.59, 1.19, -0.11, 0.9, -0.43, -0.97, -0.2, 0.66, -2.44),
    (-1.37, 1.36, -1.87, -2.72, -2.62, -0.96, -0.57, 0.48, 0.13, -2.71, -1.91, 2.74, 0.43, 0.59, -0.09),
    (0.79, 0.78, 0.24, 0.79, -0.35, -0.27, 0.23, 0.06, 1.38, 1.27, -0.02, -0.55, -0.72, -1.35, 0.54),
)
"""Degrees a centimetre about the head's own x, y and z, fitted by `benchmarks/calibrate.py --real` on 968 pictures of
AFLW2000-3D and, with less weight, on the turntable's calibration heads; at two folds in docs/accuracy.md."""


def terms(points: NDArray[np.floating], scale: Doubles, rotation: Doubles, shift: Doubles, yaw: Doubles) -> Doubles:
    """(2, N, K) terms of N meshes that a mirror leaves, and those of which it changes the sign.

    `points` (N, 468+, 3): x, y pixels down, z negative to the camera; `scale` (N,), `rotation` (N, 3, 3) and `shift`
    (N, 3) of their fit (`curate.face.pose.Fit`); `yaw` (N,) in degrees.
    """
    model, other = canonical().vertices, mirrored()
    seen = np.asarray(points, np.float64)[:, : len(model)] * (1, -1, -1)
    centred = (seen - shift[:, None]) / np.maximum(scale, 1e-9)[:, None, None]
    even, odd = list[Doubles](), list[Doubles]()

    def off(indices: NDArray[np.int64]) -> Doubles:
        own: Doubles = np.einsum("nki,nij->nkj", centred[:, indices], rotation)
        return np.asarray((own - model[indices]).mean(1), np.float64)

    for part in MIDDLE.values():
        across, up, forward = off(np.array(part)).T
        even += [up, forward]
        odd += [across]
    for part in SIDE.values():
        right, left = off(np.array(part)), off(other[list(part)]) * (-1, 1, 1)
        even += list((right + left).T / 2)
        odd += list((right - left).T / 2)
    turned = (yaw / USUAL_YAW)[:, None]
    alike, unlike = (np.clip(np.column_stack(v), -FURTHEST, FURTHEST) for v in (even, odd))
    return np.stack([np.column_stack([alike, unlike * turned]), np.column_stack([unlike, alike * turned])])


def turns(given: Doubles, weights: Weights | None = None) -> Doubles:
    """(N, 3) rotation vectors in the head's own axes, in degrees, that undo the error; `given` (2, N, K) of `terms`."""
    even, odd = given
    about_x, about_y, about_z = (np.array(w) for w in weights or WEIGHTS)
    found = np.column_stack([even @ about_x, odd @ about_y, odd @ about_z])
    return np.asarray(np.clip(found, -LARGEST, LARGEST), np.float64)
