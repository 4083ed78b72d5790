"""Edge of a pasted face in a video on its own: the sharpest smooth line around the upper face. Arrays in, number out.

A paste leaves a step in brightness of a pixel or two along a curve that runs around the face at an almost constant
distance from its outline. The surroundings of the outline are unrolled, one direction per row, so that such a curve is
an almost straight line, and the line with the strongest common step is sought.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import hull
from curate.types import Floats
from reports.artifacts.view import Pyramid

DIRECTIONS, UPPER = 144, 88
"""Directions around the face, and those of them around the forehead in which the line is sought: jaw and cheeks have
edges of their own."""
DEEP = 0.2
"""Fraction of the face's width: the line is sought this far inside the outline."""
LARGEST = 400.0
"""Pixels: pictures of wider faces are shrunk by an integer factor."""
FEWEST = 14
"""Pixels between outline and DEEP: of smaller faces nothing can be said."""
FLANK = 3
"""Pixels to the steps before and behind, whose mean is subtracted: shading and soft contours go on, the edge of a paste
does not."""
STRONGEST = 2.0
"""L*: stronger steps are clipped to this, so that hair in a few directions does not make a line."""
ALONG = 5
"""Directions over which steps are averaged."""
EVERY = 2
"""One direction in this many takes part in the search."""
SIDEWAYS = 0.15
"""Cost in L* for a line that moves sideways by a pixel."""
TRIM = (0.25, 0.875)
"""Quantiles of a line's steps between which their mean is taken: hair and glasses cross some directions."""


def line(picture: Pyramid, points: NDArray[np.floating]) -> float:
    """Step in L* (about, luma per cent) along the strongest line around the upper face; NaN for a small face.

    `points` are landmarks (N, 2|3) in pixels of the frame. The step of each direction has a sign: a face that is
    brighter than its surroundings is so all along its edge.
    """
    steps = _steps(unrolled(picture, points))
    if steps is None:
        return float("nan")
    both = np.stack([steps, -steps])
    return max(_mean(one[np.arange(len(one)), path]) for one, path in zip(both, _paths(both), strict=True))


def unrolled(picture: Pyramid, points: NDArray[np.floating]) -> Floats:
    """(UPPER, R) luma in per cent from the outline inward, a pixel per column, clockwise in the picture; the middle row
    is the direction from the chin to the forehead."""
    polygon = np.asarray(hull(points), np.float64)
    width = float(cv2.contourArea(polygon.astype(np.float32))) ** 0.5
    factor = max(int(np.ceil(width / LARGEST)), 1)
    grey, middle = picture.whole(factor), polygon.mean(0)
    along = points[[362, 263], :2].mean(0) - points[[33, 133], :2].mean(0) if len(points) >= 468 else np.array([1, 0])
    turn = np.arctan2(along[1], along[0]) + 2 * np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    rays = np.stack([np.cos(turn), np.sin(turn)], 1)
    far = _smooth(_reach(polygon - middle, rays), 7)[_upper()]
    depth = (np.arange(round(DEEP * width / factor)) + 0.5) * factor
    at = middle + rays[_upper(), None] * (far[:, None] - depth)[..., None]
    x, y = np.moveaxis(((at + 0.5) / factor - 0.5).astype(np.float32), -1, 0)
    seen = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return seen.astype(np.float32) * np.float32(100 / 255)


def _upper() -> NDArray[np.int64]:
    return np.asarray(np.arange(DIRECTIONS * 3 // 4 - UPPER // 2, DIRECTIONS * 3 // 4 + UPPER // 2) % DIRECTIONS)


def _reach(polygon: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A,) distance from the origin to a convex polygon (K, 2) around it, along unit vectors (A, 2)."""
    edge = np.roll(polygon, -1, 0) - polygon
    normal = np.stack([edge[:, 1], -edge[:, 0]], 1)
    apart = (polygon * normal).sum(1)
    facing = rays @ normal.T
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(facing * apart > 0, apart / facing, np.inf)
    return np.asarray(hit.min(1))


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """(A,) running mean of values around a circle."""
    around = np.concatenate([values[-(width // 2) :], values, values[: width // 2]])
    return np.convolve(around, np.ones(width) / width, "valid")


def _steps(seen: Floats) -> Floats | None:
    """(UPPER / EVERY, R) sharp steps inward, in L*; None where the face is too small."""
    if seen.shape[1] < FEWEST:
        return None
    step = seen[:, 2:] - seen[:, :-2]
    sharp = step[:, FLANK:-FLANK] - (step[:, : -2 * FLANK] + step[:, 2 * FLANK :]) / 2
    mean = cv2.blur(sharp, (1, ALONG), borderType=cv2.BORDER_REPLICATE)[::EVERY]
    return np.asarray(np.clip(mean, -STRONGEST, STRONGEST), np.float32)


def _paths(values: Floats) -> NDArray[np.int64]:
    """(K, S) columns of the paths through K maps (S, B) with the greatest sum, which move sideways by at most one
    column per row. Dynamic programming (Viterbi 1967)."""
    kinds, rows, bins = values.shape
    arriving = np.full((3, kinds, bins), -np.inf, np.float32)
    total, came = values[:, 0].copy(), np.zeros((rows, kinds, bins), np.int64)
    for row in range(1, rows):
        arriving[0, :, 1:], arriving[2, :, :-1] = total[:, :-1] - SIDEWAYS, total[:, 1:] - SIDEWAYS
        arriving[1] = total
        came[row] = arriving.argmax(0)
        total = arriving.max(0) + values[:, row]
    out, each = np.empty((kinds, rows), np.int64), np.arange(kinds)
    out[:, -1] = total.argmax(1)
    for row in range(rows - 1, 0, -1):
        out[:, row - 1] = out[:, row] + came[row, each, out[:, row]] - 1
    return out


def _mean(steps: Floats) -> float:
    """Mean of the steps (S,) between the quantiles TRIM."""
    first, last = (round(q * len(steps)) for q in TRIM)
    return float(np.sort(steps)[first:last].mean())
