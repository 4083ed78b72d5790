"""Landmark and crop layouts of other programs: iBUG's 68 points, aligned faces of DeepFaceLab and faceswap.

Both programs align by a least-squares similarity (Umeyama 1991) of points 17.. to the same mean face, whose unit is
about the width of the brows. DeepFaceLab's `whole_face` is a square of 2.13 units in line with it. faceswap's crops
are moved to the projection of a point of the head, which it finds with a 26-point model (glAnthropometric3DModel,
University of Coimbra) and a camera of focal length 4. The numbers are theirs: others would cut out another square.
"""

from __future__ import annotations

import functools
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import canonical
from curate.face.pose68 import FIRST, MESH_OF_68
from curate.types import Floats

Doubles = NDArray[np.float64]
Centring = Literal["legacy", "face", "head"]

_JAW: tuple[int, ...] = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
"""The mesh's outline from the right ear, level with the eye, to the chin."""
_JAW_LEFT: tuple[int, ...] = (356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)

MEAN_FACE: Doubles = np.array(
    """
    .010086 .106454 .085135 .038915 .191003 .018748 .300643 .034489 .403270 .077391 .596729 .077391 .699356 .034489
    .808997 .018748 .914864 .038915 .989913 .106454 .500000 .203352 .500000 .307009 .500000 .409805 .500000 .515625
    .376753 .587326 .435909 .609345 .500000 .628106 .564090 .609345 .623246 .587326 .131610 .216423 .196995 .178758
    .275698 .179852 .344479 .231733 .270791 .245099 .192616 .244077 .655520 .231733 .724301 .179852 .803005 .178758
    .868389 .216423 .807383 .244077 .729208 .245099 .264022 .780233 .350858 .745405 .438731 .727388 .500000 .742578
    .561268 .727388 .649141 .745405 .735977 .780233 .652032 .864805 .566594 .902192 .500000 .909281 .433405 .902192
    .347967 .864805 .300252 .784792 .437969 .778746 .500000 .785343 .562030 .778746 .699747 .784792 .563237 .824182
    .500000 .831803 .436763 .824182
    """.split(),
    np.float64,
).reshape(51, 2)
"""Points 17..67 of the mean face, x to the right, y down."""
_DFL_POINTS = [*range(17, 49), 54]
_DFL_SHIFT = np.array([-0.009873, 0.0])
"""DeepFaceLab's mean face lies this much further left."""
_DFL_SIDE = 1 + 2 * 0.4 * np.sqrt(2)
"""Side of `whole_face`: a padding of .4 on half a diagonal."""
_DFL_CENTRE = np.array([0.5, 0.5 - 0.07])

_HEAD_POINTS = [6, 7, 8, 9, 10, 17, 21, 22, 26, *range(31, 37), 39, 42, 45, 48, 50, 51, 52, 54, 56, 57, 58]
_HEAD: Doubles = np.array(
    """
    4.056931 -11.432347 1.636229 1.833492 -12.542305 4.061275 0 -12.901019 4.070434 -1.833492 -12.542305 4.061275
    -4.056931 -11.432347 1.636229 6.825897 1.275284 4.402142 1.330353 1.636816 6.903745 -1.330353 1.636816 6.903745
    -6.825897 1.275284 4.402142 1.930245 -5.060977 5.914376 .746313 -5.136947 6.263227 0 -5.485328 6.76343
    -.746313 -5.136947 6.263227 -1.930245 -5.060977 5.914376 5.311432 0 3.987654 1.78993 -.091703 4.413414
    -1.78993 -.091703 4.413414 -5.311432 0 3.987654 2.774015 -7.566103 5.048531 .509714 -7.056507 6.566167
    0 -7.131772 6.704956 -.509714 -7.056507 6.566167 -2.774015 -7.566103 5.048531 -.589441 -8.443925 6.109526
    0 -8.601736 6.097667 .589441 -8.443925 6.109526
    """.split(),
    np.float64,
).reshape(26, 3)
_CAMERA: Doubles = np.array([[4, 0, 0.5], [0, 4, 0.5], [0, 0, 1]], np.float64)
_CENTRES = {"head": (0.0, 0.0, -2.3), "face": (0.0, -1.5, 4.2)}
_PADDING = {"legacy": 0.375, "face": 0.5, "head": 0.625}
"""Share of the crop's side that lies around the mean face's unit square."""


_BLENDS: dict[int, dict[int, float]] = {
    18: {63: 0.7, 105: 0.3},
    19: {105: 0.4, 66: 0.6},
    20: {66: 0.5, 107: 0.5},
    21: {107: 0.4, 55: 0.4, 9: 0.2},
    22: {336: 0.4, 285: 0.4, 9: 0.2},
    23: {296: 0.5, 336: 0.5},
    24: {334: 0.4, 296: 0.6},
    25: {293: 0.7, 334: 0.3},
    28: {197: 0.5, 6: 0.5},
    29: {5: 0.4, 195: 0.6},
}
"""Points that lie between vertices: the brows' equal steps and the bridge's, where dlib's predictor puts them."""


@functools.cache
def _weights() -> Doubles:
    """(68, 468) weights of the mesh's vertices in iBUG's points; the jaw's are equal steps along the outline."""
    weights = np.zeros((68, 468))
    for side, order in ((_JAW, range(9)), (_JAW_LEFT, range(16, 8, -1))):
        points = canonical().vertices[list(side)]
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        for step, point in enumerate(order):
            at = np.interp(step / 8 * along[-1], along, np.arange(len(side)))
            low = min(int(at), len(side) - 2)
            weights[point, [side[low], side[low + 1]]] = 1 - (at - low), at - low
    for point in range(FIRST, 68):
        for vertex, weight in _BLENDS.get(point, {MESH_OF_68[point - FIRST]: 1.0}).items():
            weights[point, vertex] = weight
    return weights


def ibug68(points: NDArray[np.floating]) -> Floats:
    """iBUG's 68 points (68, 2), pixels, of landmarks (478, 3), (468, 3) or (68, 3)."""
    if len(points) == 68:
        return np.asarray(points[:, :2], np.float32)
    return np.asarray(_weights() @ np.asarray(points, np.float64)[:468, :2], np.float32)


def similarity(points: NDArray[np.floating], to: NDArray[np.floating]) -> Doubles:
    """(2, 3) least-squares similarity without reflection that takes points (N, 2) to `to` (N, 2)."""
    a, b = (np.asarray(p, np.float64) @ (1, 1j) for p in (points, to))
    turn = np.vdot(a - a.mean(), b - b.mean()) / max(np.vdot(a - a.mean(), a - a.mean()).real, 1e-12)
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def dfl_matrix(points: NDArray[np.floating], size: int) -> Doubles:
    """(2, 3) from frame pixels to pixels of DeepFaceLab's `whole_face` crop, for points (68, 2)."""
    unit = similarity(points[_DFL_POINTS], MEAN_FACE[np.array(_DFL_POINTS) - FIRST] + _DFL_SHIFT)
    unit[:, 2] += _DFL_SIDE / 2 - _DFL_CENTRE
    return np.asarray(unit * (size / _DFL_SIDE))


def faceswap_matrix(points: NDArray[np.floating], size: int, centring: Centring = "head") -> Doubles:
    """(2, 3) from frame pixels to pixels of faceswap's aligned face, for points (68, 2)."""
    unit = similarity(points[FIRST:], MEAN_FACE)
    if centring != "legacy":
        inside = np.asarray(points, np.float64) @ unit[:, :2].T + unit[:, 2]
        unit[:, 2] -= _head_point(inside, _CENTRES[centring]) - 0.5
    padding = round(size * _PADDING[centring] / 2)
    matrix = unit * (size - 2 * padding)
    matrix[:, 2] += padding
    return matrix


def _head_point(points: Doubles, centre: tuple[float, float, float]) -> Doubles:
    """(2,) where a point of the head lies, in units of the mean face in which the points (68, 2) are."""
    still = np.zeros(4)
    _, turn, shift = cv2.solvePnP(_HEAD, points[_HEAD_POINTS], _CAMERA, still, flags=cv2.SOLVEPNP_ITERATIVE)
    seen, _ = cv2.projectPoints(np.array([centre]), turn, shift, _CAMERA, still)
    return cast(Doubles, seen.reshape(2))


def raised_hull(points: NDArray[np.floating]) -> Floats:
    """(K, 2) convex outline of points (68, 2) with the brows lifted by half their height over the eyes."""
    brows, eyes = points[17:27], points[36:48]
    up = 0.5 * (brows.mean(0) - eyes.mean(0))
    return cast(Floats, cv2.convexHull(np.concatenate([points, brows + up]).astype(np.float32))[:, 0])
