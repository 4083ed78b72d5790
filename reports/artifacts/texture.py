"""Detail of a face, region by region, and of its surroundings. Pure functions, array in, numbers out."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from reports.artifacts.measures import Zones, blurred

REGIONS = ("ring", "face", "eyes", "nose", "mouth", "cheeks")
NAMES = tuple(f"{region}_{what}" for region in REGIONS for what in ("fine", "middle", "coarse", "sharp"))
"""Values of `texture`: octaves of detail in three bands, and how sharp the strongest edges are, region by region."""
BANDS = (1.0, 2.0, 4.0)
"""Standard deviations in pixels of the blurs between which the bands lie."""
LEAST = 0.3
"""Luma levels that are added to any amount of detail."""
STRONG = 85
"""Percentile of the gradients of a region from which an edge is strong."""
EDGE = (0.7, 2.0)
"""Standard deviations of two blurs: a sharp edge is much steeper after the first than after the second."""
_PARTS: dict[str, tuple[tuple[tuple[int, ...], float], ...]] = {
    "eyes": (((33, 133, 159, 145), 0.17), ((362, 263, 386, 374), 0.17)),
    "nose": (((1, 4, 2), 0.14),),
    "mouth": (((61, 291, 0, 17, 13, 14, 37, 267, 84, 314), 0.24),),
    "cheeks": (((50, 187, 123, 205), 0.13), ((280, 411, 352, 425), 0.13)),
}
"""Mesh points in the middle of the pieces of a region, and their radius as a fraction of the face's width."""


def texture(grey: Floats, at: Zones, points: NDArray[np.floating]) -> Floats:
    """(24,) float32 values of NAMES for luma (H, W) in levels and mesh points (N, 2|3) in its pixels; NaN: unknown."""
    out = np.full(len(NAMES), np.nan, np.float32)
    if len(points) < 468:
        return out
    soft = [grey, *(blurred(grey, sigma) for sigma in BANDS)]
    bands = [np.square(a - b) for a, b in itertools.pairwise(soft)]
    fine, coarse = (_gradient(blurred(grey, sigma)) for sigma in EDGE)
    for i, where in enumerate(_regions(at, np.asarray(points, np.float64)[:, :2])):
        if np.count_nonzero(where) < 24:
            continue
        for k, band in enumerate(bands):
            out[4 * i + k] = np.log2(float(band[where].mean()) ** 0.5 + LEAST)
        steep = coarse[where]
        strong = steep >= np.percentile(steep, STRONG)
        out[4 * i + 3] = np.log2((float(fine[where][strong].mean()) + 1) / (float(steep[strong].mean()) + 1))
    return out


def _gradient(grey: Floats) -> Floats:
    return np.asarray(cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


def _regions(at: Zones, points: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Masks (H, W) of REGIONS."""
    found = [at.ring, at.inside]
    y, x = np.indices(at.distance.shape, np.float32)
    for pieces in _PARTS.values():
        where = np.zeros(at.distance.shape, bool)
        for indices, radius in pieces:
            middle = points[list(indices)].mean(0)
            where |= np.hypot(x - np.float32(middle[0]), y - np.float32(middle[1])) < radius * at.width
        found.append(where & (at.distance > 0))
    return found
