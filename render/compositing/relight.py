"""Relighting: the smooth part of the footage's light on the swapped face.

Two faces in one light have about the same slope and bend of brightness across them, whatever their features. So a
polynomial of degree two is fitted to the logarithm of the ratio of both in each colour channel, robustly, so that hair,
beards and brows of one face count little, and the swapped face is multiplied by it. Its mean is left to the colour
transfer.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

GRID = 24
"""Cells on either side of the crop over whose means the polynomial is fitted."""
FILLED = 0.5
"""Least mean of the mask in a cell that counts."""
LEAST = 12
"""Fewest such cells."""
BLACK = 0.02
"""Added to values in 0..1: what is nearly black says nothing about light."""
USUAL, ROUNDS = 0.1, 6
"""Log ratio beyond which a cell's distance from the polynomial makes it count less (Huber 1964), and how often weights
are found anew."""
RIDGE = 0.5
"""Cells that say "no change"."""
MOST = 1.0
"""Largest change, log of the gain."""


def shading(swapped: Floats, footage: Floats, mask: Floats) -> Floats:
    """Coefficients (5, 3) of x, y, x², xy and y² (-1 to 1 over the crop) of the log of each channel's gain.

    swapped, footage: crops (S, S, 3) in 0..1; mask: (S, S). Zeros where the mask is too small.
    """
    covered = np.asarray(cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_AREA), np.float32)
    where = covered > FILLED
    if where.sum() < LEAST:
        return np.zeros((5, 3), np.float32)
    logs = [np.log(_mean(x, mask, covered)[where] + BLACK) for x in (swapped, footage)]
    ratio, terms = logs[1] - logs[0], _terms(GRID)[where]
    basis = np.column_stack([np.ones(len(terms)), terms]).astype(np.float64)
    weight, found = np.ones(len(ratio)), np.zeros((6, 3))
    for _ in range(ROUNDS):
        left = basis.T @ (basis * weight[:, None]) + RIDGE * np.diag([0.0, *[1.0] * 5])
        found = np.linalg.solve(left, basis.T @ (weight[:, None] * ratio))
        weight = 1 / np.maximum(np.abs(ratio - basis @ found).mean(1) / USUAL, 1)
    return np.asarray(found[1:], np.float32)


def relit(rgb: Floats, coefficients: Floats, mask: Floats) -> Floats:
    """The crop (S, S, 3) in 0..1 with the gain of `shading`, whose log has the mean 0 under the mask (S, S)."""
    weight = float(mask.sum())
    if weight == 0 or not coefficients.any():
        return rgb
    terms = _terms(len(rgb)).reshape(-1, 5)
    change = (terms - np.float32(1 / weight) * (mask.ravel() @ terms)) @ coefficients
    np.tanh(np.divide(change, MOST, out=change), out=change)
    gain = np.exp(np.multiply(change, MOST, out=change), out=change).reshape(rgb.shape)
    return np.asarray(np.clip(np.multiply(rgb, gain, out=gain), 0, 1, out=gain), np.float32)


def _mean(rgb: Floats, mask: Floats, covered: Floats) -> Floats:
    """(GRID, GRID, 3) means under the mask."""
    summed = cv2.resize((rgb * mask[..., None]).astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(summed / np.maximum(covered[..., None], 1e-6), np.float32)


@cache
def _terms(side: int) -> NDArray[np.float32]:
    """(side, side, 5) values of the polynomial's terms."""
    at = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)
    x, y = np.broadcast_to(at, (side, side)), np.broadcast_to(at[:, None], (side, side))
    return np.stack([x, y, x * x, x * y, y * y], axis=-1)
