"""How far landmarks jump in one frame: their distance from the mean of the frames before and after.

The head's own movement between the three frames is taken out, as are mouth, eyes and brows: what is left is noise, or a
mesh that slips for a frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import canonical
from curate.face.pose import fit_mesh

Doubles = NDArray[np.float64]

LONGEST = 0.1
"""Seconds to a neighbour at most: in a longer time a face changes by itself."""


def jumps(points: NDArray[np.floating], times: NDArray[np.floating]) -> Doubles:
    """(N,) root mean square jump of one track's landmarks in centimetres of the head; NaN without both neighbours.

    `points` (N, 468+, 3) in pixels in the order of `times` (N,) in seconds, of which neighbours are at most LONGEST
    apart. On the 33 points that MediaPipe takes for rigid.
    """
    out = np.full(len(points), np.nan)
    near = np.flatnonzero(np.diff(times) <= LONGEST)
    middle = near[np.isin(near + 1, near)] + 1
    if not len(middle):
        return out
    own = _in_the_head(points)
    off = own[middle] - (own[middle - 1] + own[middle + 1]) / 2
    out[middle] = np.sqrt(np.einsum("k,nkd->n", _weights(), off**2))
    return out


def _in_the_head(points: NDArray[np.floating]) -> Doubles:
    """(N, 33, 3) the rigid points in the head's own axes, centimetres."""
    fit = fit_mesh(points)
    seen = np.asarray(points, np.float64)[:, canonical().basis] * (1, -1, -1) - fit.shift[:, None]
    return np.asarray(np.einsum("nki,nij->nkj", seen / np.maximum(fit.scale, 1e-9)[:, None, None], fit.rotation))


def _weights() -> Doubles:
    weights = canonical().basis_weights
    return np.asarray(weights / weights.sum(), np.float64)
