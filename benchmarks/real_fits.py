"""Fits of the constants of head pose and of light on real truth, and the same fits by two folds.

What the shape of the mesh says about head pose is fitted on the turntable's calibration heads as well, so that a
convention of the pictures' truth does not become the tool's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from benchmarks.accuracy_heads import calibration_heads, read
from benchmarks.accuracy_pose import views
from benchmarks.real_data import Aflw, Yale
from curate.face import shape_bias
from curate.face.pose import GAINS, Gains, about, corrected, euler, fit_mesh, matrix, unbiased
from curate.face.shape_bias import Weights
from curate.scores import lighting

CAPPED = 40.0
"""Degrees at which an error counts no further: a slipped mesh says nothing about gains."""
HEAD_VIEWS, HEAD_WEIGHT, SHAPE_RIDGE, SLIPPED = 80, 0.3, 3.0, 60.0
"""Of the fit of the mesh's shape: views of each calibration head and their weight, ridge, and degrees beyond which a
mesh has lost its face."""
RIDGE, ROUNDS, USUAL = 3.0, 10, 0.15
"""Of the fit of light: ridge, reweighting rounds, and the error (length of the difference) beyond which one weighs
less."""


def published(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(N, 3) yaw, pitch and roll as papers count them, of angles as this project counts them."""
    r = matrix(yaw, pitch, roll)
    across, down = -np.arcsin(np.clip(r[:, 0, 2], -1, 1)), -np.arctan2(-r[:, 1, 2], r[:, 2, 2])
    return np.degrees(np.column_stack([across, down, -np.arctan2(-r[:, 0, 1], r[:, 0, 0])]))


def errors(data: Aflw, gains: Gains | None = None, weights: Weights | None = None) -> np.ndarray:
    """(N, 3) absolute errors in degrees of the published angles; NaN where no face was found."""
    out = np.full((len(data.points), 3), np.nan)
    points = data.points[data.found]
    difference = published(*unbiased(points, fit_mesh(points), gains, weights)) - data.published[data.found]
    out[data.found] = np.abs((difference + 180) % 360 - 180)
    return out


def _plain_errors(data: Aflw, gains: Gains) -> np.ndarray:
    """(F, 3) as `errors` of the faces that were found, by gains alone."""
    angles = corrected(*euler(fit_mesh(data.points[data.found]).rotation), gains)
    return np.asarray(np.abs((published(*angles) - data.published[data.found] + 180) % 360 - 180))


def fit_gains(data: Aflw) -> Gains:
    """Least mean absolute error by the gains of pitch, each error at most CAPPED; the gain of yaw is the tool's."""

    def loss(x: np.ndarray) -> float:
        return float(np.minimum(_plain_errors(data, (GAINS[0], 1 + x[0], 20 * x[1])), CAPPED).mean())

    x = np.zeros(2)
    for _ in range(3):
        simplex = np.vstack([x, x + 0.05 * np.eye(2)])
        x = minimize(loss, x, method="Nelder-Mead", options={"maxfev": 250, "initial_simplex": simplex}).x
    return GAINS[0], float(1 + x[0]), float(20 * x[1])


@dataclass(frozen=True)
class Known:
    """N faces whose rotation is known."""

    points: np.ndarray
    """(N, 478, 3)."""
    rotation: np.ndarray
    """(N, 3, 3)."""


@functools.cache
def calibration_faces() -> Known:
    """Views of the turntable's calibration heads."""
    points, turned = list[np.ndarray](), list[np.ndarray]()
    for number, head in enumerate(calibration_heads()):
        wanted = views(HEAD_VIEWS, 900 + number, 85)
        seen = read(head, wanted)
        points.append(seen.points[seen.found])
        turned.append(matrix(*np.array([(v.yaw, v.pitch, v.roll) for v in wanted])[seen.found].T))
    return Known(np.concatenate(points), np.concatenate(turned))


def fit_weights(data: Aflw, gains: Gains, heads: Known) -> Weights:
    """Robust ridge regression of what is left of the rotation after `gains` on the terms of the mesh's shape.

    Those further off than SLIPPED do not count. A head counts HEAD_WEIGHT of a picture, without its own zero of pitch.
    """
    found = data.points[data.found]
    terms, left = _left(Known(found, from_published(data.published[data.found])), gains)
    near = np.linalg.norm(left, axis=1) < SLIPPED
    more, also = _left(heads, gains)
    also[:, 0] -= np.median(also[:, 0])
    terms = np.concatenate([terms[:, near], more], axis=1)
    left = np.concatenate([left[near], also])
    weight = np.concatenate([np.ones(near.sum()), np.full(len(also), HEAD_WEIGHT)])
    axes = zip((terms[0], terms[1], terms[1]), left.T, strict=True)
    about_x, about_y, about_z = (tuple(_robust(x, y, weight).tolist()) for x, y in axes)
    return about_x, about_y, about_z


def _left(known: Known, gains: Gains) -> tuple[np.ndarray, np.ndarray]:
    """Terms (2, N, K) of the shape, and the rotation vectors (N, 3) in degrees that are left after `gains`."""
    fit = fit_mesh(known.points)
    angles = euler(fit.rotation)
    terms = shape_bias.terms(known.points, fit.scale, fit.rotation, fit.shift, angles[0])
    turn = np.einsum("nji,njk->nik", matrix(*corrected(*angles, gains)), known.rotation)
    return terms, np.asarray(Rotation.from_matrix(turn).as_rotvec(degrees=True))


def _robust(terms: np.ndarray, left: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(K,) least absolute deviations by reweighting, those within a degree squared."""
    own, found = weight, np.zeros(terms.shape[1])
    for _ in range(ROUNDS):
        system = terms.T @ (terms * own[:, None]) + SHAPE_RIDGE * np.eye(terms.shape[1])
        found = np.linalg.solve(system, terms.T @ (own * left))
        own = weight / np.maximum(np.abs(terms @ found - left), 1)
    return np.asarray(found)


def from_published(angles: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations of angles (N, 3) as publications count them, the inverse of `published`."""
    yaw, pitch, roll = -angles.T
    x, y, z = (about(angle[:, None] * axis) for angle, axis in zip((pitch, yaw, roll), np.eye(3), strict=True))
    return np.asarray(x @ y @ z)


def part(data: Aflw, rows: np.ndarray) -> Aflw:
    """Some of the pictures."""
    return Aflw(data.published[rows], data.points[rows])


def folded_errors(data: Aflw) -> np.ndarray:
    """(N, 3) as `errors`, of every second picture with the gains and weights that the others give."""
    out, odd = np.full((len(data.points), 3), np.nan), np.arange(len(data.points)) % 2 == 1
    for held in (odd, ~odd):
        others = part(data, ~held)
        gains = fit_gains(others)
        out[held] = errors(part(data, held), gains, fit_weights(others, gains, calibration_faces()))
    return out


def raw_light(data: Yale) -> np.ndarray:
    """(N, 3) directions in the heads' axes, one frame each, without BIAS; NaN where there is none."""
    out = np.full((len(data.colours), 3), np.nan)
    for i, (colours, upright) in enumerate(zip(data.colours, data.upright, strict=True)):
        light = lighting.estimate(colours, upright, lighting.NO_BIAS)
        if light is not None:
            out[i] = upright.T @ light.direction
    return out


def fit_bias(read: np.ndarray, truth: np.ndarray) -> lighting.Bias:
    """Robust ridge regression of what true directions (N, 3) add to read ones, both in the heads' axes."""
    known = np.isfinite(read).all(1)
    read, truth = read[known], truth[known]
    weight, bias = np.ones(len(read)), lighting.NO_BIAS
    for _ in range(ROUNDS):
        odd, even = lighting.terms(read)
        found = []
        for axis, terms in enumerate((odd, even, even)):
            left = terms.T @ (terms * weight[:, None]) + RIDGE * np.eye(terms.shape[1])
            found.append(np.linalg.solve(left, terms.T @ (weight * (truth - read)[:, axis])))
        bias = (tuple(found[0]), tuple(found[1]), tuple(found[2]))
        off = np.linalg.norm(lighting.unbiased(read, bias) - truth, axis=1)
        weight = 1 / np.maximum(off / USUAL, 1)
    return bias


def folded_light(data: Yale) -> np.ndarray:
    """(N, 3) directions in the upright crops' axes, of every second person with the bias of the others."""
    read, truth = raw_light(data), np.einsum("nji,nj->ni", data.upright, data.truth)
    out, odd = np.full_like(read, np.nan), np.isin(data.person, np.unique(data.person)[1::2])
    for held in (odd, ~odd):
        out[held] = lighting.unbiased(read[held], fit_bias(read[~held], truth[~held]))
    return np.asarray(np.einsum("nij,nj->ni", data.upright, out))
