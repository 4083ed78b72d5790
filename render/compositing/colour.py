"""Colour transfer from the footage to the swapped face, in CIELAB, under the mask.

reinhard   means and standard deviations (Reinhard, Ashikhmin, Gooch, Shirley 2001)
mkl        linear optimal transport between two Gaussians (Pitie and Kokaram 2007)
sot        sliced optimal transport (Rabin, Peyre, Delon, Bernot 2011), fitted by a polynomial of degree two
none       no colour transfer

To add a method, write its function and add it to METHODS. All are of one form: y = centre + shift + M d + Q q(d), with
d = x - centre and q(d) its six products, so a correction can be averaged over a shot. The centre is the frame's own and
never smoothed: the network already follows the footage's light from frame to frame, and smoothing would undo that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate import srgb
from curate.types import Floats

Method: TypeAlias = str
"""Name of a method: a key of METHODS."""
GAIN = (0.7, 1.4)
"""Limits of the change of a standard deviation: beyond, blurred faces turn into noise and sharp ones into wax."""
FOLLOWED = 1.5
"""CIELAB units by which a frame's own shift may differ from its shot's."""
SAMPLES = 2000
"""Pixels that sliced optimal transport moves."""
ROUNDS = 12
"""Iterations of sliced optimal transport."""
UNIT = 20.0
"""Scale of the polynomial's variables, CIELAB units."""
Doubles = NDArray[np.float64]
Fit: TypeAlias = tuple[Doubles, Doubles, Doubles]
"""Extra shift (3,), matrix (3, 3) and bend (3, 6) of a correction, see `Correction`."""


@dataclass(frozen=True)
class Correction:
    """Colour correction from one face to another."""

    centre: Floats
    """(3,) mean of the swapped face."""
    shift: Floats
    """(3,) added to the mean."""
    matrix: Floats
    """(3, 3) applied to the difference from the mean."""
    bend: Floats
    """(3, 6) applied to the products of that difference, in units of 20."""


def to_lab(rgb: Floats) -> Floats:
    """CIELAB (D65; L 0..100) of sRGB (H, W, 3), clipped to 0..1, float32."""
    return srgb.lab(np.clip(rgb, 0, 1))


def from_lab(lab: Floats) -> Floats:
    """sRGB of CIELAB: the inverse of `to_lab`, clipped to 0..1."""
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1), np.float32)


def correction(swapped: Floats, footage: Floats, mask: Floats, method: Method = "reinhard") -> Correction | None:
    """Correction from the swapped crop to the footage's crop, both (S, S, 3) in 0..1, under the mask (S, S).

    None if the method does nothing, or the mask covers less than 16 pixels.
    """
    where = mask > 1e-3
    weights = mask[where].astype(np.float64)
    if weights.sum() < 16:
        return None
    mine, theirs = (to_lab(x)[where].astype(np.float64) for x in (swapped, footage))
    here, there = (weights @ x / weights.sum() for x in (mine, theirs))
    fit = METHODS[method](mine - here, theirs - there, weights)
    if fit is None:
        return None
    shift, matrix, bend = fit
    return Correction(*(np.asarray(p, np.float32) for p in (here, there + shift - here, matrix, bend)))


def _none(mine: Doubles, theirs: Doubles, weights: Doubles) -> None:
    """No correction."""


def _reinhard(mine: Doubles, theirs: Doubles, weights: Doubles) -> Fit:
    spreads = [np.sqrt(weights @ x**2 / weights.sum()) for x in (mine, theirs)]
    gains = np.asarray(np.clip((spreads[1] + 0.5) / (spreads[0] + 0.5), *GAIN))
    return np.zeros(3), np.diag(gains), np.zeros((3, 6))


def _mkl(mine: Doubles, theirs: Doubles, weights: Doubles) -> Fit:
    return np.zeros(3), _transport(mine, theirs, weights), np.zeros((3, 6))


def _covariance(values: Doubles, weights: Doubles) -> Doubles:
    return np.asarray((values * weights[:, None]).T @ values / weights.sum() + 0.25 * np.eye(3))


def _transport(mine: Doubles, theirs: Doubles, weights: Doubles) -> Doubles:
    """Symmetric (3, 3) that maps one covariance to the other, with eigenvalues limited to GAIN."""
    start, goal = _covariance(mine, weights), _covariance(theirs, weights)
    root, inverse = _power(start, 0.5), _power(start, -0.5)
    return _power(inverse @ _power(root @ goal @ root, 0.5) @ inverse, 1.0, GAIN)


def _power(symmetric: Doubles, exponent: float, limits: tuple[float, float] = (1e-9, 1e9)) -> Doubles:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.clip(np.maximum(values, 1e-9) ** exponent, *limits)) @ vectors.T)


def _sot(mine: Doubles, theirs: Doubles, weights: Doubles) -> Fit:
    """Shift, matrix and bend of the polynomial through the transported samples."""
    matrix = _transport(mine, theirs, weights)
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
    # The fit is made on samples; the shift makes the mean of all pixels right.
    shift = -np.average(mine @ linear.T + _products(mine) @ bend.T, axis=0, weights=weights)
    return shift, linear, bend


def _products(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Products of pairs (..., 6) of values (..., 3), in units of 20, clipped to the range of the samples."""
    x, y, z = np.moveaxis(np.clip(values / UNIT, -2, 2), -1, 0)
    return np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)


METHODS: dict[str, Callable[[Doubles, Doubles, Doubles], Fit | None]] = {
    "none": _none,
    "reinhard": _reinhard,
    "mkl": _mkl,
    "sot": _sot,
}
"""Method to its function of swapped pixels, footage's pixels (both (N, 3), CIELAB minus the mean) and weights (N,)."""


def apply(rgb: Floats, change: Correction | None) -> Floats:
    """The crop (S, S, 3) in 0..1 with corrected colours; None changes nothing."""
    if change is None:
        return rgb
    lab, matrix = to_lab(rgb), change.matrix
    moved = cv2.transform(lab, np.column_stack([matrix, change.centre + change.shift - matrix @ change.centre]))
    if change.bend.any():
        moved = moved + _products(lab - change.centre) @ change.bend.T
    return from_lab(np.asarray(moved, np.float32))


def averaged(own: Correction, others: Sequence[Correction], weights: Sequence[float]) -> Correction:
    """Mean of the corrections of a shot, about the frame's own centre.

    Small differences of the frame's own shift are followed (the footage's light changes from frame to frame, and the
    network's brightness varies slightly); large ones are not: something passes in front of the face.
    """
    shift, matrix, bend = (np.average([getattr(c, n) for c in others], 0, weights) for n in ("shift", "matrix", "bend"))
    shift = shift + np.clip(own.shift - shift, -FOLLOWED, FOLLOWED)
    return Correction(own.centre, *(np.asarray(p, np.float32) for p in (shift, matrix, bend)))
