"""Edge of a pasted face in a video on its own: a new line around the upper face. Arrays in, arrays out.

A paste leaves a step in brightness of a pixel or two along a curve that runs around the face at an almost constant
distance from its outline. The face is unrolled from its outline inward, one direction per row, so that such a curve is
an almost straight line. Hairline, glasses and wrinkles make lines, too, but at the same depth in the frames around.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import hull
from curate.types import Floats
from reports.artifacts import temporal as t
from reports.artifacts.view import Pyramid

DIRECTIONS, UPPER = 144, 88
"""Directions around the face, and those of them around the forehead in which the line is sought: jaw and cheeks have
edges of their own."""
DEEP = 0.2
"""Fraction of the face's width: the line is sought this far inside the outline."""
LARGEST = 400.0
"""Pixels: pictures of wider faces are shrunk by an integer factor."""
DEPTHS = 32
"""Depths between outline and DEEP at which a line is measured."""
DEPTH_FILTER = np.array([[0.25, 0.5, 0.25]])
"""Weights of neighbouring depths: a line that lies between two of them counts."""
FEWEST = 14
"""Pixels between outline and DEEP: of smaller faces nothing can be said."""
FLANK = 2
"""Pixels to the steps before and behind, whose mean is subtracted: shading and soft contours go on, the edge of a paste
does not."""
STRONGEST = 2.0
"""L*: stronger steps are clipped to this, so that hair in a few directions does not make a line."""
ALONG = 5
"""Directions over which steps are averaged."""
SIDEWAYS = 1
"""Pixels by which the line may be nearer to the outline or farther from it, in each direction."""
TRIM = (0.25, 0.875)
"""Quantiles of a line's steps between which their mean is taken: hair and glasses cross some directions."""


def lines(picture: Pyramid, points: NDArray[np.floating]) -> Floats | None:
    """(DEPTHS,) step in L* (about, luma per cent) along the lines around the upper face from its outline to DEEP; None
    for a small face.

    `points` are landmarks (N, 2|3) in pixels of the frame. The step of each direction has a sign: a face that is
    brighter than its surroundings is so all along its edge.
    """
    steps = _steps(unrolled(picture, points))
    if steps is None:
        return None
    near = np.ones((1, 2 * SIDEWAYS + 1), np.uint8)
    first, last = (round(q * len(steps)) for q in TRIM)
    common = np.max([np.sort(cv2.dilate(each, near), 0)[first:last].mean(0) for each in (steps, -steps)], axis=0)
    deep = (np.arange(len(common)) + 0.5) / len(common)
    return np.asarray(np.interp((np.arange(DEPTHS) + 0.5) / DEPTHS, deep, common), np.float32)


def strongest(steps: NDArray[np.float64], around: int, lasting: int) -> NDArray[np.float64]:
    """(T,) step in L* of the line that exceeds the usual one at its depth most, for T frames' `lines` (T, DEPTHS).

    Steps are medians over `lasting` frames, the usual ones medians over `around` frames: hairs and wrinkles stay.
    """
    steady = [t.running_median(each, lasting) for each in steps.T]
    above = np.column_stack([each - t.usual(each, around) for each in steady])
    return np.asarray(cv2.filter2D(above, cv2.CV_64F, DEPTH_FILTER, borderType=cv2.BORDER_REPLICATE).max(1))


def unrolled(picture: Pyramid, points: NDArray[np.floating]) -> Floats:
    """(UPPER, R) luma in per cent, a pixel per column from FLANK + 1 pixels outside the outline inward.

    Rows go clockwise in the picture; the middle one is the direction from the chin to the forehead.
    """
    polygon = np.asarray(hull(points), np.float64)
    width = float(cv2.contourArea(polygon.astype(np.float32))) ** 0.5
    factor = max(int(np.ceil(width / LARGEST)), 1)
    grey, middle = picture.whole(factor), polygon.mean(0)
    along = _eye_axis(points)
    turn = np.arctan2(along[1], along[0]) + 2 * np.pi * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    rays = np.stack([np.cos(turn), np.sin(turn)], 1)
    far = _smooth(_reach(polygon - middle, rays), 7)[_upper()]
    depth = (np.arange(-FLANK - 1, round(DEEP * width / factor) + FLANK + 1) + 0.5) * factor
    at = middle + rays[_upper(), None] * (far[:, None] - depth)[..., None]
    x, y = np.moveaxis(((at + 0.5) / factor - 0.5).astype(np.float32), -1, 0)
    seen = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return seen.astype(np.float32) * np.float32(100 / 255)


def _eye_axis(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2,) from the eye on the left of the picture to the other, of 478 or 68 landmarks; level without eyes."""
    ends = {478: ([33, 133], [362, 263]), 68: (range(36, 42), range(42, 48))}.get(len(points))
    if ends is None:
        return np.array([1.0, 0.0])
    one, other = (np.asarray(points[list(end), :2], np.float64).mean(0) for end in ends)
    return np.asarray(other - one)


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
    """(UPPER, R) sharp steps inward, in L*, between outline and DEEP; None where the face is too small."""
    if seen.shape[1] - 2 * (FLANK + 1) < FEWEST:
        return None
    step = seen[:, 2:] - seen[:, :-2]
    sharp = step[:, FLANK:-FLANK] - (step[:, : -2 * FLANK] + step[:, 2 * FLANK :]) / 2
    mean = cv2.blur(sharp, (1, ALONG), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(mean, -STRONGEST, STRONGEST), np.float32)
