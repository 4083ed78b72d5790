"""Fits of the constants of head pose and of light on real truth, and the same fits by two folds."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from benchmarks.real_data import Aflw, Yale
from curate.face.pose import GAINS, Gains, corrected, euler, fit_mesh, matrix
from curate.scores import lighting

CAPPED = 40.0
"""Degrees at which an error counts no further: a slipped mesh says nothing about gains."""
RIDGE, ROUNDS, USUAL = 3.0, 10, 0.15
"""Of the fit of light: ridge, reweighting rounds, and the error (length of the difference) beyond which one weighs
less."""


def published(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(N, 3) yaw, pitch and roll as papers count them, of angles as this project counts them."""
    r = matrix(yaw, pitch, roll)
    across, down = -np.arcsin(np.clip(r[:, 0, 2], -1, 1)), -np.arctan2(-r[:, 1, 2], r[:, 2, 2])
    return np.degrees(np.column_stack([across, down, -np.arctan2(-r[:, 0, 1], r[:, 0, 0])]))


def errors(data: Aflw, gains: Gains | None = None) -> np.ndarray:
    """(N, 3) absolute errors in degrees of the published angles; NaN where no face was found."""
    out = np.full((len(data.points), 3), np.nan)
    angles = corrected(*euler(fit_mesh(data.points[data.found]).rotation), gains)
    difference = published(*angles) - data.published[data.found]
    out[data.found] = np.abs((difference + 180) % 360 - 180)
    return out


def fit_gains(data: Aflw) -> Gains:
    """Least mean absolute error by the gains of pitch, each error at most CAPPED; the gain of yaw is the tool's."""

    def loss(x: np.ndarray) -> float:
        return float(np.minimum(errors(data, (GAINS[0], 1 + x[0], 20 * x[1]))[data.found], CAPPED).mean())

    x = np.zeros(2)
    for _ in range(3):
        simplex = np.vstack([x, x + 0.05 * np.eye(2)])
        x = minimize(loss, x, method="Nelder-Mead", options={"maxfev": 250, "initial_simplex": simplex}).x
    return GAINS[0], float(1 + x[0]), float(20 * x[1])


def part(data: Aflw, rows: np.ndarray) -> Aflw:
    """Some of the pictures."""
    return Aflw(data.published[rows], data.points[rows])


def folded_errors(data: Aflw) -> np.ndarray:
    """(N, 3) as `errors`, of every second picture with the gains that the others give."""
    out, odd = np.full((len(data.points), 3), np.nan), np.arange(len(data.points)) % 2 == 1
    for held in (odd, ~odd):
        out[held] = errors(part(data, held), fit_gains(part(data, ~held)))
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
