"""The swapped crop back into its frame.

feather    a fade over the mask's edge
pyramid    each octave of detail over its own width (Burt and Adelson, A multiresolution spline, 1983)
poisson    the fade, after the difference along the mask's edge has been spread smoothly over the face: what Poisson
           editing (Perez, Gangnet, Blake 2003) solves for, by a pyramid (Farbman, Fattal, Lischinski 2011)

The last is a membrane of the crop, made before pasting and smoothed over the shot: made anew for every frame it would
flicker with the hair. Whatever the way, where the mask is 0 the frame's values stay as they are.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from render.compositing.detail import grained

MODES = ("feather", "pyramid", "poisson")
STEP = 0.12
"""Of 1: the edge's difference counts up to here when it is spread; beyond lie hair and background, not light."""
SMALL = 48
"""Pixels: what is spread is smooth."""


def paste(
    frame: NDArray[Any],
    rgb: Floats,
    mask: Floats,
    matrix: NDArray[np.floating],
    mode: str = "feather",
    grain: float = 0.0,
    seed: int = 0,
) -> tuple[NDArray[Any], Floats]:
    """The frame (H, W, 3) uint8 or uint16 with the crop laid over it; the mask (H, W) float32 in 0..1 where it was.

    `rgb` (S, S, 3) in 0..1 and `mask` (S, S) lie in the crop, `matrix` (2, 3) leads from the frame to it. `grain` is
    the standard deviation, of 1, of the grain that the face gets. The frame that was given is not changed.
    """
    height, width = frame.shape[:2]
    full = np.zeros((height, width), np.float32)
    rgb, mask, matrix = _shrunk(rgb, mask, np.asarray(matrix, np.float64))
    back = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    left, top, right, bottom = _bounds(mask, back, width, height)
    if left >= right or top >= bottom:
        return frame.copy(), full
    local = back - np.array([[0, 0, left], [0, 0, top]])
    size = (right - left, bottom - top)
    face = np.clip(cv2.warpAffine(rgb, local, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), 0, 1)
    laid = cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    alpha: Floats = np.asarray(np.clip(laid, 0, 1), np.float32)
    most = np.float32(np.iinfo(frame.dtype).max)
    under = frame[top:bottom, left:right].astype(np.float32) / most
    mixed = blended(np.asarray(under, np.float32), grained(np.asarray(face, np.float32), grain, seed), alpha, mode)
    output = frame.copy()
    changed = np.rint(np.clip(mixed, 0, 1) * most).astype(frame.dtype)
    output[top:bottom, left:right] = np.where(alpha[..., None] > 0, changed, output[top:bottom, left:right])
    full[top:bottom, left:right] = alpha
    return output, full


def blended(under: Floats, face: Floats, alpha: Floats, mode: str) -> Floats:
    """`face` over `under`, both (H, W, 3) in 0..1, under `alpha` (H, W)."""
    if mode == "pyramid":
        face = _pyramid(under, face, alpha)
        alpha = np.clip(alpha * 4, 0, 1)
    return np.asarray(under + alpha[..., None] * (face - under), np.float32)


def membrane(step: Floats, mask: Floats) -> Floats:
    """What poisson adds to the face: a small picture (N, N, 3), N at most SMALL, to be enlarged to the crop's size.

    `step` (S, S, 3) is the footage's crop less the swapped one, of 1; it counts along the edge of `mask` (S, S), and is
    carried smoothly over all of it by push and pull in a pyramid.
    """
    small = min(SMALL, len(mask))
    edge: Floats = np.asarray(4 * mask * (1 - mask), np.float32)
    held = np.clip(step, -STEP, STEP) * edge[..., None]
    values, weights = (
        np.asarray(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), np.float32) for x in (held, edge)
    )
    known = []
    while len(weights) > 2:
        known.append((values, weights))
        values, weights = _down(values), _down(weights)
    filled = values / np.maximum(weights, 1e-6)[..., None]
    for values, weights in reversed(known):
        coarse = cv2.pyrUp(filled, dstsize=weights.shape[::-1])
        # Where the edge says something here, it is believed; elsewhere what the coarser level knows.
        trust = np.clip(weights * 2, 0, 1)[..., None]
        filled = coarse + trust * (values / np.maximum(weights, 1e-6)[..., None] - coarse)
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), small / 24), np.float32)


def spread(rgb: Floats, added: Floats | None) -> Floats:
    """The crop (S, S, 3) with its membrane; None adds nothing."""
    if added is None:
        return rgb
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(np.clip(rgb + cv2.resize(added, size, interpolation=cv2.INTER_LINEAR), 0, 1), np.float32)


def _pyramid(under: Floats, face: Floats, alpha: Floats) -> Floats:
    """Laplacian pyramids of both, joined by the Gaussian pyramid of the mask."""
    levels = max(int(np.log2(min(alpha.shape))) - 3, 1)
    fines: list[Floats] = []
    weight = alpha
    for _ in range(levels):
        size = weight.shape[::-1]
        low_under, low_face = _down(under), _down(face)
        fine_under, fine_face = (x - cv2.pyrUp(low, dstsize=size) for x, low in ((under, low_under), (face, low_face)))
        fines.append(np.asarray(fine_under + weight[..., None] * (fine_face - fine_under), np.float32))
        under, face, weight = low_under, low_face, _down(weight)
    joined = under + weight[..., None] * (face - under)
    for fine in reversed(fines):
        joined = np.asarray(cv2.pyrUp(joined, dstsize=fine.shape[1::-1]) + fine, np.float32)
    return np.asarray(joined, np.float32)


def _down(values: Floats) -> Floats:
    return np.asarray(cv2.pyrDown(values), np.float32)


def _shrunk(rgb: Floats, mask: Floats, matrix: NDArray[np.float64]) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """The crop averaged down where the face in the frame is smaller than in the crop, so that nothing aliases."""
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    size = rgb.shape[0]
    small = max(int(np.ceil(size / zoom)), 8)
    if small >= size:
        return rgb, mask, matrix
    scale = small / size
    rgb = np.asarray(cv2.resize(rgb, (small, small), interpolation=cv2.INTER_AREA), np.float32)
    mask = np.asarray(cv2.resize(mask, (small, small), interpolation=cv2.INTER_AREA), np.float32)
    # Pixel centres lie at whole numbers: x -> (x + 0.5) * scale - 0.5.
    moved = matrix * scale
    moved[:, 2] += 0.5 * scale - 0.5
    return rgb, mask, moved


def _bounds(mask: Floats, back: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in the frame of what the mask can reach; empty where it is 0 or out of the frame."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0, 0, 0
    x0, x1, y0, y1 = columns.min() - 1, columns.max() + 1, rows.min() - 1, rows.max() + 1
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]], np.float64) @ back.T
    left, top = np.floor(corners.min(0)).astype(int)
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
