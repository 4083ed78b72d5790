"""Head pose from the face mesh: weighted Procrustes on the canonical mesh.

Signs and order of ISO/IEC 39794-5: see `curate.types`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.face import shape_bias
from curate.face.mesh import canonical

Doubles = NDArray[np.float64]
Gains = tuple[float, float, float]
GAINS: Gains = (1.085, 0.984, -1.016)
"""True over fitted yaw, fitted on the turntable's calibration heads; true over fitted pitch, and degrees added to it,
fitted by `benchmarks/calibrate.py --real` on 968 pictures of AFLW2000-3D; at two folds in docs/accuracy.md."""
SURE = 60.0
"""Degrees of yaw up to which a well fitted pose is trusted fully."""
TURNED, FIT_POWER = 18.0, 0.7
"""Degrees beyond SURE over which confidence falls, and how much the mesh's fit counts in it: chosen so that 93 % of
968 pictures of AFLW2000-3D are above 0.5; docs/accuracy.md shows the error at each confidence."""
ZERO_YAW = 45.0
LEVEL, LEVEL_SHARE = 10.0, 0.04
"""Degrees by which the pitch of a level head may differ from 0, about twice the scatter between people, and the share
of such faces that is enough."""


@dataclass(frozen=True)
class Fit:
    """The similarity that carries the canonical mesh (cm, y up) onto N faces (pixels, y up): x = s R v + t."""

    scale: Doubles
    """(N,) pixels per centimetre."""
    rotation: Doubles
    """(N, 3, 3)."""
    shift: Doubles
    """(N, 3) pixels; y up (the image's y times -1)."""
    residual: Doubles
    """(N,) root mean square distance after the fit, centimetres."""


def fit_mesh(points: NDArray[np.floating]) -> Fit:
    """Fit the canonical mesh to landmarks (N, 478, 3) or (N, 468, 3): x, y pixels down, z pixels negative to camera.

    On MediaPipe's 33 rigid points and their weights.
    """
    mesh = canonical()
    seen = np.asarray(points, np.float64)[:, mesh.basis] * (1, -1, -1)
    return procrustes(seen, mesh.vertices[mesh.basis], mesh.basis_weights / mesh.basis_weights.sum())


def procrustes(seen: Doubles, model: Doubles, weights: Doubles) -> Fit:
    """The similarity that carries `model` (K, 3) onto each of `seen` (N, K, 3); `weights` (K,) of sum 1.

    Weighted orthogonal Procrustes with scale (Umeyama 1991).
    """
    seen_mean, model_mean = np.einsum("k,nkd->nd", weights, seen), weights @ model
    seen_centred, model_centred = seen - seen_mean[:, None], model - model_mean
    u, singular, vt = np.linalg.svd(np.einsum("k,nki,kj->nij", weights, seen_centred, model_centred))
    sign = np.ones((len(seen), 3))
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(1) / float(weights @ (model_centred**2).sum(1))
    shift = seen_mean - scale[:, None] * (rotation @ model_mean)
    error = seen_centred - scale[:, None, None] * np.einsum("nij,kj->nki", rotation, model_centred)
    residual = np.sqrt(np.einsum("k,nkd->n", weights, error**2)) / np.maximum(scale, 1e-9)
    return Fit(scale, rotation, shift, residual)


def euler(rotation: NDArray[np.floating]) -> tuple[Doubles, Doubles, Doubles]:
    """Yaw, pitch, roll in degrees of rotations (..., 3, 3) = Rz(roll) Ry(yaw) Rx(pitch)."""
    r = np.asarray(rotation, np.float64)
    yaw = np.arcsin(np.clip(-r[..., 2, 0], -1, 1))
    pitch = np.arctan2(r[..., 2, 1], r[..., 2, 2])
    roll = np.arctan2(r[..., 1, 0], r[..., 0, 0])
    return np.degrees(yaw), np.degrees(pitch), np.degrees(roll)


def matrix(
    yaw: NDArray[np.floating] | float, pitch: NDArray[np.floating] | float, roll: NDArray[np.floating] | float
) -> Doubles:
    """Rotations (..., 3, 3) = Rz(roll) Ry(yaw) Rx(pitch) from degrees; the inverse of `euler`."""
    y, p, r = np.radians(np.broadcast_arrays(yaw, pitch, roll))
    cy, sy, cp, sp, cr, sr = np.cos(y), np.sin(y), np.cos(p), np.sin(p), np.cos(r), np.sin(r)
    rows = [
        [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
        [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
        [-sy, cy * sp, cy * cp],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def about(vectors: NDArray[np.floating]) -> Doubles:
    """Rotations (N, 3, 3) about axes (N, 3) by as many degrees as these are long (Rodrigues)."""
    v = np.radians(np.asarray(vectors, np.float64))
    angle = np.linalg.norm(v, axis=1)[:, None, None]
    x, y, z = v.T
    none = np.zeros_like(x)
    cross = np.moveaxis(np.array([[none, -z, y], [z, none, -x], [-y, x, none]]), -1, 0)
    once, twice = np.sinc(angle / np.pi), np.sinc(angle / 2 / np.pi) ** 2 / 2
    return np.asarray(np.eye(3) + once * cross + twice * (cross @ cross))


@dataclass(frozen=True)
class HeadPose:
    """Poses of N faces."""

    yaw: Doubles
    pitch: Doubles
    roll: Doubles
    confidence: Doubles
    """Confidence 0..1: 1 for the best possible mesh fit with enough of the face visible."""
    fits: Doubles
    """(N,) 0..1, from the mesh fit alone."""


def head_pose(points: NDArray[np.floating]) -> HeadPose:
    """Poses of landmarks (N, 478, 3) or (N, 468, 3), degrees.

    The landmarker flattens turned heads and overstates their pitch; GAINS undo that, and `curate.face.shape_bias` what
    the mesh's own shape says about the error. Confidence falls with the fit's
    residual (people differ from the canonical mesh by about 0.35 cm, a mesh that has lost the face by more than 1 cm)
    and past SURE degrees of yaw: there half of the face is guessed. From about 78 degrees on the landmarker itself no
    longer believes in a face (such profiles are kept and marked, see `curate.face.track`), and angles between 75 and 90
    are distinguished only roughly, up to 15 degrees small.
    """
    fit = fit_mesh(points)
    return trusted(fit, *unbiased(points, fit))


def unbiased(
    points: NDArray[np.floating], fit: Fit, gains: Gains | None = None, weights: shape_bias.Weights | None = None
) -> tuple[Doubles, Doubles, Doubles]:
    """Yaw, pitch and roll (N,) in degrees of landmarks and their fit, by GAINS and the shape's WEIGHTS, or others."""
    angles = euler(fit.rotation)
    found = shape_bias.terms(points, fit.scale, fit.rotation, fit.shift, angles[0])
    return euler(matrix(*corrected(*angles, gains)) @ about(shape_bias.turns(found, weights)))


def corrected(
    yaw: Doubles, pitch: Doubles, roll: Doubles, gains: Gains | None = None
) -> tuple[Doubles, Doubles, Doubles]:
    """Yaw, pitch and roll (N,) in degrees of fitted ones, by GAINS or others."""
    wide, slope, added = GAINS if gains is None else gains
    return yaw * wide, pitch * slope + added, roll


def trusted(fit: Fit, yaw: Doubles, pitch: Doubles, roll: Doubles) -> HeadPose:
    """Poses (N,) with the confidence that their fit and their yaw deserve."""
    fits = np.exp(-np.square(np.maximum(fit.residual - 0.35, 0) / 0.5))
    seen = np.exp(-np.square(np.maximum(np.abs(yaw) - SURE, 0) / TURNED))
    return HeadPose(yaw, pitch, roll, fits**FIT_POWER * seen, fits)


def zero(pitch: NDArray[np.floating], yaw: NDArray[np.floating], confidence: NDArray[np.floating]) -> float:
    """The pitch in degrees that counts as 0 for one subject, from its faces (N,); nulls are passed over.

    Heads differ in shape by a few degrees, so the subject's own usual pitch counts, but only as far as heads differ:
    the median of the faces within LEVEL of the calibrated zero, if they are LEVEL_SHARE of all; otherwise the median of
    all, held to LEVEL. Who looks down most of the time is not taken for level. Turned faces (yaw past ZERO_YAW) and
    doubtful ones do not vote where there are others.
    """
    known = np.isfinite(pitch) & np.isfinite(yaw)
    votes = known & (np.abs(yaw) <= ZERO_YAW) & (confidence >= 0.3)
    voting = pitch[votes if votes.any() else known]
    if not len(voting):
        return 0.0
    level = voting[np.abs(voting) <= LEVEL]
    if len(level) >= LEVEL_SHARE * len(voting):
        return float(np.median(level))
    return float(np.clip(np.median(voting), -LEVEL, LEVEL))
