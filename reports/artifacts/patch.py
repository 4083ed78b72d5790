"""Stabilised face: a small square patch that follows the head's position, size and roll, split into cells and regions.

Changes in the patch from frame to frame come from the face, not from its movement through the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import hull, warp
from curate.types import Floats, Image

SIDE = 64
"""Pixels of the patch."""
GRID = 8
"""The patch is cut into GRID x GRID cells."""
REACH = 0.62
"""Half the patch's side, as a multiple of the square root of the face's area."""
MOUTH = (14, 10)
"""Width and height in samples of the thumbnail of the mouth."""
REGIONS = ("whole face", "forehead", "left eye", "right eye", "nose", "mouth", "left cheek", "right cheek", "jaw/chin",
           "edge")  # fmt: skip
"""Left and right are the person's own."""
WHOLE, EDGE = 0, 9
_SEEDS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (1, (10, 151, 67, 297, 109, 338)), (2, (386, 374, 282)), (3, (159, 145, 52)), (4, (4, 6, 195)),
    (5, (13, 14, 61, 291, 0, 17)), (6, (280, 411, 352)), (7, (50, 187, 123)), (8, (152, 199, 172, 397, 150, 379)),
)  # fmt: skip
"""Region and the mesh points that represent it: a cell belongs to the region of the nearest point."""
_EYES68 = (tuple(range(36, 42)), tuple(range(42, 48)))


@dataclass(frozen=True)
class Patch:
    """One picture's patch in CIELAB."""

    lab: Floats
    """(SIDE, SIDE, 3)."""
    cells: Floats
    """(GRID, GRID, 3) mean of each cell."""


def upright(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2, 3) similarity transform from the pixels of landmarks (N, 2|3) to the patch; upright for 478 or 68 of them."""
    xy = np.asarray(points, np.float64)[:, :2]
    outline = hull(points)
    area = float(cv2.contourArea(outline))
    if len(xy) >= 468:
        right, left = xy[[33, 133]].mean(0), xy[[362, 263]].mean(0)
    elif len(xy) == 68:
        right, left = xy[list(_EYES68[0])].mean(0), xy[list(_EYES68[1])].mean(0)
    else:
        right, left = np.zeros(2), np.array([1.0, 0.0])
    along = left - right
    along = along / max(float(np.hypot(*along)), 1e-9)
    zoom = SIDE / (2 * REACH * max(area**0.5, 1e-6))
    turn = zoom * np.array([[along[0], along[1]], [-along[1], along[0]]])
    return np.column_stack([turn, (SIDE - 1) / 2 - turn @ outline.mean(0)])


def patch(image: Image, matrix: NDArray[np.floating]) -> Patch:
    """Patch of a (H, W, 3) uint8 RGB image."""
    lab = cv2.cvtColor(warp(image, matrix, SIDE).astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32)
    return Patch(lab, cells(lab))


def cells(values: Floats) -> Floats:
    """(GRID, GRID) or (GRID, GRID, C) means of (SIDE, SIDE) or (SIDE, SIDE, C) values over each cell."""
    step = SIDE // GRID
    return np.asarray(values.reshape(GRID, step, GRID, step, -1).mean((1, 3)).squeeze(), np.float32)


def cover(mask: Floats, matrix: NDArray[np.floating]) -> Floats:
    """(GRID, GRID) fraction 0..1 of each cell that is face, for a (H, W) mask in 0..1."""
    return cells(np.asarray(cv2.warpAffine(mask, np.asarray(matrix, np.float64), (SIDE, SIDE)), np.float32))


def region_cells(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> NDArray[np.int8]:
    """(GRID, GRID) index into REGIONS of each cell; all WHOLE for other landmarks than the mesh's."""
    if len(points) < 468:
        return np.full((GRID, GRID), WHOLE, np.int8)
    m = np.asarray(matrix, np.float64)
    seeds = np.array([i for _, group in _SEEDS for i in group])
    region = np.array([name for name, group in _SEEDS for _ in group], np.int8)
    at = np.asarray(points, np.float64)[seeds, :2] @ m[:, :2].T + m[:, 2]
    y, x = (np.indices((GRID, GRID)) + 0.5) * (SIDE / GRID) - 0.5
    far = (x[..., None] - at[:, 0]) ** 2 + (y[..., None] - at[:, 1]) ** 2
    return np.asarray(region[far.argmin(-1)], np.int8)


def mouth(lab: Floats, points: NDArray[np.floating], matrix: NDArray[np.floating]) -> Floats | None:
    """MOUTH luma samples (140,) of L* around the mouth of a patch; None for other landmarks than the mesh's."""
    if len(points) < 468:
        return None
    m = np.asarray(matrix, np.float64)
    x, y = np.asarray(points, np.float64)[[61, 291], :2].mean(0) @ m[:, :2].T + m[:, 2]
    move = np.array([[0.5, 0, MOUTH[0] / 2 - 0.5 * x], [0, 0.5, 0.45 * MOUTH[1] - 0.5 * y]])
    soft = cv2.blur(np.ascontiguousarray(lab[..., 0]), (2, 2))
    return np.asarray(cv2.warpAffine(soft, move, MOUTH, borderMode=cv2.BORDER_REPLICATE), np.float32).ravel()
