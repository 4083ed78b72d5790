"""Motion blur of a face: what a streak takes from its fine gradients in one direction, and defocus takes in all.

A face has more edges across than along it, more at the eyes than on the cheeks: in each of 3 x 3 cells of the face the
usual imbalance (USUAL) is taken off, and what is left in all of them together is the streak.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

FINE, COARSE = 0.6, 2.0
"""Gaussian widths in pixels of the 256-pixel crop, between which detail is compared."""
CELLS, DIRECTIONS = 3, 12
NOISE = 0.1
"""Gradient energy, in squared luma levels a pixel, below which a direction says nothing; more makes long streaks read
as short ones (chosen on 54 faces of nine clips)."""
USUAL: tuple[tuple[float, float], ...] = (
    (-0.1, -0.03), (-0.11, -0.04), (-0.14, 0.1),
    (0.01, 0.02), (-0.16, -0.03), (0.1, 0.02),
    (0.01, 0.08), (-0.08, -0.01), (0.0, -0.1),
)  # fmt: skip
"""Imbalance of sharp faces in each cell, rows from the top, as `imbalance` has it: median of 72 faces of nine clips."""


def blur(grey: Floats, points: NDArray[np.floating]) -> float:
    """Motion blur from 0: log ratio of fine to coarse gradient energy across the streak minus that along it.

    `grey` (S, S) luma 0..255 of the crop, `points` (N, 2+) landmarks in its pixels.
    """
    found, weight = imbalance(grey, points)
    if not weight.any():
        return 0.0
    return 2 * float(np.linalg.norm(weight @ (found - np.array(USUAL)) / weight.sum()))


def imbalance(grey: Floats, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(9, 2) of each cell: second harmonic, over the direction, of the log ratio of fine to coarse gradient energy; and
    (9,) how much contrast the cell has."""
    low = np.clip(points[:, :2].min(0), 0, np.array(grey.shape[::-1]) - CELLS).astype(int)
    high = np.clip(points[:, :2].max(0), low + CELLS, grey.shape[::-1]).astype(int)
    face = np.ascontiguousarray(grey[low[1] : high[1], low[0] : high[0]])
    sums = [_tensor(cast(Floats, cv2.GaussianBlur(face, (0, 0), width))) for width in (FINE, COARSE)]
    turn = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    look = np.stack([np.cos(turn) ** 2, np.sin(turn) ** 2, np.sin(2 * turn)])
    fine, coarse = (np.maximum(tensor @ look, 0) for tensor in sums)
    ratio = np.log(np.maximum(fine - coarse, 0) + NOISE) - np.log(coarse + NOISE)
    harmonic = np.stack([np.cos(2 * turn), np.sin(2 * turn)], 1) * 2 / DIRECTIONS
    return ratio @ harmonic, np.sqrt(sums[1][:, 0] + sums[1][:, 1])


def _tensor(soft: Floats) -> NDArray[np.float64]:
    """(9, 3) mean of xx, yy and xy of the gradients in each cell."""
    along = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)
    products = cv2.merge([cv2.multiply(along, along), cv2.multiply(down, down), cv2.multiply(along, down)])
    cells = cv2.resize(products, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float64).reshape(-1, 3)
