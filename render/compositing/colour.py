"""Colour of the swapped face brought to the footage's, in CIELAB, under the mask.

reinhard   means and spreads (Reinhard, Ashikhmin, Gooch, Shirley 2001)
mkl        the linear optimal transport between two Gaussians (Pitie and Kokaram 2007)
sot        sliced optimal transport (Rabin, Peyre, Delon, Bernot 2011), fitted by a polynomial of the second degree
none       nothing

All are one family: y = centre + shift + M d + Q q(d), with d = x - centre and q(d) its six products. So a correction
can be averaged over a shot. The centre is the frame's own and never smoothed: the network already follows the footage's
light from frame to frame, and that must not be smoothed away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

METHODS = ("none", "reinhard", "mkl", "sot")
GAIN = (0.7, 1.4)
"""A spread is changed by no more: a blurred output would turn into noise, a hard one into wax."""
FOLLOWED = 1.5
"""CIELAB units by which a frame's own shift may depart from its shot's."""
SAMPLES = 2000
"""Pixels that sliced optimal transport moves."""
ROUNDS = 12
UNIT = 20.0
"""CIELAB units in which the polynomial counts."""
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Correction:
    """What takes one face's colours to another's."""

    centre: Floats
    """(3,) the swapped face's own mean."""
    shift: Floats
    """(3,) added to the mean."""
    matrix: Floats
    """(3, 3) of what differs from the mean."""
    bend: Floats
    """(3, 6) of the products of what differs from the mean, in units of 20."""


def to_lab(rgb: Floats) -> Floats:
    """(H, W, 3) sRGB in 0..1 to CIELAB (D65; L 0..100), float32."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), np.float32)


def from_lab(lab: Floats) -> Floats:
    """The inverse of `to_lab`, clipped to 0..1."""
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1), np.float32)


def correction(swapped: Floats, footage: Floats, mask: Floats, method: str = "reinhard") -> Correction | None:
    """From the swapped crop to the footage's crop, both (S, S, 3) in 0..1, under the mask (S, S).

    None where nothing is to be done, or the mask holds less than 16 pixels.
    """
    where = mask > 1e-3
    weights = mask[where].astype(np.float64)
    if method == "none" or weights.sum() < 16:
        return None
    mine, theirs = (to_lab(x)[where].astype(np.float64) for x in (swapped, footage))
    here, there = (np.average(x, axis=0, weights=weights) for x in (mine, theirs))
    bend = np.zeros((3, 6))
    if method == "reinhard":
        matrix = np.diag(_reinhard(mine - here, theirs - there, weights))
    else:
        matrix = _mkl(_covariance(mine - here, weights), _covariance(theirs - there, weights))
        if method == "sot":
            shift, matrix, bend = _sot(mine - here, theirs - there, weights, matrix)
            there = there + shift
    parts = (here, there - here, matrix, bend)
    return Correction(*(np.asarray(p, np.float32) for p in parts))


def _reinhard(mine: Doubles, theirs: Doubles, weights: Doubles) -> Doubles:
    spreads = [np.sqrt(np.average(x**2, axis=0, weights=weights)) for x in (mine, theirs)]
    return np.asarray(np.clip((spreads[1] + 0.5) / (spreads[0] + 0.5), *GAIN))


def _covariance(values: Doubles, weights: Doubles) -> Doubles:
    return np.asarray((values * weights[:, None]).T @ values / weights.sum() + 0.25 * np.eye(3))


def _mkl(mine: Doubles, theirs: Doubles) -> Doubles:
    """Symmetric (3, 3) that takes one covariance to the other, its eigenvalues held within GAIN."""
    root, inverse = _power(mine, 0.5), _power(mine, -0.5)
    return _power(inverse @ _power(root @ theirs @ root, 0.5) @ inverse, 1.0, GAIN)


def _power(symmetric: Doubles, exponent: float, limits: tuple[float, float] = (1e-9, 1e9)) -> Doubles:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.clip(np.maximum(values, 1e-9) ** exponent, *limits)) @ vectors.T)


def _sot(mine: Doubles, theirs: Doubles, weights: Doubles, matrix: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Shift, matrix and bend of the polynomial through the transported samples."""
    rng = np.random.default_rng(0)
    pick = rng.choice(len(mine), SAMPLES, p=weights / weights.sum())
    start, goal = mine[pick], theirs[rng.choice(len(theirs), SAMPLES, p=weights / weights.sum())]
    moved = start @ matrix.T
    for _ in range(ROUNDS):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        here, there = moved @ axes, goal @ axes
        order, wanted = np.argsort(here, axis=0), np.sort(there, axis=0)
        step = np.empty_like(here)
        np.put_along_axis(step, order, wanted - np.take_along_axis(here, order, 0), axis=0)
        moved = moved + step @ axes.T / 2
    basis = np.column_stack([np.ones(SAMPLES), start / UNIT, _products(start)])
    ridge = SAMPLES * np.diag([0.0, *[1e-3] * 3, *[1e-2] * 6])
    rest = moved - start @ matrix.T
    fit = np.linalg.solve(basis.T @ basis + ridge, basis.T @ rest)
    linear, bend = matrix + fit[1:4].T / UNIT, fit[4:].T
    # The fit is of samples; the mean is to be that of all pixels.
    shift = -np.average(mine @ linear.T + _products(mine) @ bend.T, axis=0, weights=weights)
    return shift, linear, bend


def _products(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(..., 3) to (..., 6): the products of pairs, in units of 20, held where samples are."""
    x, y, z = np.moveaxis(np.clip(values / UNIT, -2, 2), -1, 0)
    return np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)


def apply(rgb: Floats, change: Correction | None) -> Floats:
    """The crop (S, S, 3) in 0..1 with its colours corrected; None changes nothing."""
    if change is None:
        return rgb
    apart = to_lab(rgb) - change.centre
    lab = apart @ change.matrix.T + (change.centre + change.shift)
    if change.bend.any():
        lab = lab + _products(apart) @ change.bend.T
    return from_lab(np.asarray(lab, np.float32))


def averaged(own: Correction, others: Sequence[Correction], weights: Sequence[float]) -> Correction:
    """The mean of the corrections of a shot, about one's own centre.

    Of the shift, small departures of one's own are followed (the footage's light changes from frame to frame, and the
    network's brightness trembles a little), great ones are not: something passes before the face.
    """
    shift, matrix, bend = (np.average([getattr(c, n) for c in others], 0, weights) for n in ("shift", "matrix", "bend"))
    shift = shift + np.clip(own.shift - shift, -FOLLOWED, FOLLOWED)
    return Correction(own.centre, *(np.asarray(p, np.float32) for p in (shift, matrix, bend)))
