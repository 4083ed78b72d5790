"""Sampling by gaps: training faces of the source are drawn as often as the target's performance needs their like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from train.data import Side
from train.drive import NAMES, SCALES, UNTOLD

EVEN = 0.5
"""Share of the draws that stays even over the clusters, so that nothing is forgotten."""
BLOCK = 1024
"""Target faces that are compared at a time."""


def by_gaps(source: Side, target: Side) -> Side:
    """The source, half of whose draws go to the clusters that are nearest to the target's training faces.

    Each of these stands for one target face, so a cluster's share is the share of the target's performance that falls
    to it; within a cluster all faces are drawn equally often. Faces are compared by expression, gaze and pose.
    """
    even = np.diff(source.cumulative, prepend=0.0)
    clusters = source.rows["cluster"].to_numpy()[source.split.train]
    own, wanted = (scaled(side.scores[side.split.train]) for side in (source, target))
    names, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    needed = np.bincount(inverse[nearest(wanted, own)], minlength=len(names)) / max(len(wanted), 1)
    chances = EVEN * even + (1 - EVEN) * (needed / sizes)[inverse]
    return replace(source, cumulative=np.cumsum(chances))


def scaled(scores: Floats) -> Floats:
    """(N, K) scores of expression, gaze and pose over their scales; unknown ones are 0."""
    told = ~np.isin(NAMES, UNTOLD)
    return np.asarray(np.nan_to_num(scores[:, told] / SCALES[told]), np.float32)


def nearest(wanted: Floats, own: Floats) -> NDArray[np.int64]:
    """(M,) index of the nearest of `own` (N, K) for each of `wanted` (M, K), Euclidean."""
    found = np.zeros(len(wanted), np.int64)
    squares = (own * own).sum(1)
    for first in range(0, len(wanted), BLOCK):
        some = wanted[first : first + BLOCK]
        found[first : first + BLOCK] = (squares - 2 * some @ own.T).argmin(1)
    return found
