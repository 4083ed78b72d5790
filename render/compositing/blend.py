"""Blending of the swapped crop into its frame.

feather    a fade over the mask's edge
pyramid    each octave of detail fades over its own width (Burt and Adelson, A multiresolution spline, 1983)
poisson    a fade, after the difference along the mask's edge has been spread smoothly over the face: what Poisson
           editing (Perez, Gangnet, Blake 2003) solves for, by a pyramid (Farbman, Fattal, Lischinski 2011)

To add a mode, write its function and add it to MODES. The membrane of poisson is computed in the crop and smoothed over
the shot: computed for every frame alone it would flicker with the hair. In all modes, pixels where the mask is 0 keep
their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from render.compositing.detail import grained

Mode: TypeAlias = str
"""Name of a mode: a key of MODES."""
STEP = 0.12
"""Limit, of 1, of the difference at the edge that is spread: larger ones are hair and background, not light."""
SMALL = 48
"""Largest side of a membrane, pixels; it is smooth."""


@dataclass(frozen=True)
class Blend:
    """A blending mode."""

    lay: Callable[[Floats, Floats, Floats], Floats]
    """The face over what is under it, both (H, W, 3) in 0..1, under the mask (H, W)."""
    membrane: Callable[[Floats, Floats], Floats] | None = None
    """What is added to the crop before blending, from its difference and mask, as `spread_edge`; None: nothing."""


def paste(
    frame: NDArray[Any],
    rgb: Floats,
    mask: Floats,
    matrix: NDArray[np.floating],
    mode: Mode = "feather",
    grain: float = 0.0,
    seed: int = 0,
) -> tuple[NDArray[Any], Floats]:
    """The frame (H, W, 3) uint8 or uint16 with the crop blended in; the mask (H, W) float32 in 0..1 in the frame.

    `rgb` (S, S, 3) in 0..1 and `mask` (S, S) are in crop space, `matrix` (2, 3) maps the frame to the crop. `grain` is
    the standard deviation, of 1, of the grain that is added to the face. The given frame is not changed.
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
    face = _laid(rgb, local, size)
    laid = cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    alpha: Floats = np.asarray(np.clip(laid, 0, 1), np.float32)
    most = np.float32(np.iinfo(frame.dtype).max)
    under = frame[top:bottom, left:right].astype(np.float32) / most
    grainy = grained(np.asarray(face, np.float32), grain, seed)
    mixed = MODES[mode].lay(np.asarray(under, np.float32), grainy, alpha)
    output = frame.copy()
    np.clip(mixed, 0, 1, out=mixed)
    mixed *= most
    changed = np.rint(mixed, out=mixed).astype(frame.dtype)
    cv2.copyTo(changed, (alpha > 0).view(np.uint8), output[top:bottom, left:right])
    full[top:bottom, left:right] = alpha
    return output, full


def _laid(rgb: Floats, matrix: NDArray[np.float64], size: tuple[int, int]) -> Floats:
    """The crop (S, S, 3) in a picture of `size`, by `matrix` (2, 3) from the crop to it.

    It is first doubled by Lanczos interpolation: bicubic interpolation would leave the grid of the network's pixels in
    a face that is much enlarged, and takes longer.
    """
    side = 2 * len(rgb)
    double = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_LANCZOS4)
    half = np.hstack([matrix[:, :2] / 2, matrix[:, 2:] - matrix[:, :2].sum(1, keepdims=True) / 4])
    face = cv2.warpAffine(double, half, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(face, 0, 1, out=face), np.float32)


def membrane(step: Floats, mask: Floats, mode: Mode) -> Floats | None:
    """What the mode adds to the crop, to be smoothed over the shot and added by `spread`; None for nothing.

    `step` (S, S, 3) is the footage's crop minus the swapped one, of 1, `mask` (S, S) in 0..1.
    """
    make = MODES[mode].membrane
    return None if make is None else make(step, mask)


def _feather(under: Floats, face: Floats, alpha: Floats) -> Floats:
    mixed: Any = cv2.subtract(face, under)
    cv2.multiply(mixed, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), dst=mixed)
    return np.asarray(cv2.add(mixed, under, dst=mixed), np.float32)


def _pyramid(under: Floats, face: Floats, alpha: Floats) -> Floats:
    return _feather(under, _joined(under, face, alpha), np.clip(alpha * 4, 0, 1))


def spread_edge(step: Floats, mask: Floats) -> Floats:
    """Membrane (N, N, 3), N at most SMALL: the difference along the mask's edge, spread smoothly over the mask.

    `step` (S, S, 3) and `mask` (S, S) as in `membrane`. It is spread by push and pull in a pyramid.
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
        # The edge counts where it is present at this level, elsewhere the coarser level.
        trust = np.clip(weights * 2, 0, 1)[..., None]
        filled = coarse + trust * (values / np.maximum(weights, 1e-6)[..., None] - coarse)
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), small / 24), np.float32)


def averaged(membranes: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Mean membrane (N, N, 3) of some of a shot, weighted."""
    shares = np.asarray(weights, np.float32) / np.float32(sum(weights))
    return np.asarray(np.tensordot(shares, np.stack(membranes), 1), np.float32)


def spread(rgb: Floats, added: Floats | None) -> Floats:
    """The crop (S, S, 3) with its membrane added; None adds nothing."""
    if added is None:
        return rgb
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(np.clip(rgb + cv2.resize(added, size, interpolation=cv2.INTER_LINEAR), 0, 1), np.float32)


def _joined(under: Floats, face: Floats, alpha: Floats) -> Floats:
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
    """The crop, scaled down by averaging if the face is smaller in the frame than in the crop, to prevent aliasing."""
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    size = rgb.shape[0]
    small = max(int(np.ceil(size / zoom)), 8)
    if small >= size:
        return rgb, mask, matrix
    scale = small / size
    rgb = np.asarray(cv2.resize(rgb, (small, small), interpolation=cv2.INTER_AREA), np.float32)
    mask = np.asarray(cv2.resize(mask, (small, small), interpolation=cv2.INTER_AREA), np.float32)
    # Pixel centres are at whole numbers: x -> (x + 0.5) * scale - 0.5.
    moved = matrix * scale
    moved[:, 2] += 0.5 * scale - 0.5
    return rgb, mask, moved


def _bounds(mask: Floats, back: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in the frame of the area under the mask; empty if the mask is 0 or outside the frame."""
    left, top, wide, tall = cv2.boundingRect((mask > 0).view(np.uint8))
    if not wide:
        return 0, 0, 0, 0
    x0, x1, y0, y1 = left - 1, left + wide, top - 1, top + tall
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]], np.float64) @ back.T
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)


MODES: dict[str, Blend] = {
    "feather": Blend(_feather),
    "pyramid": Blend(_pyramid),
    "poisson": Blend(_feather, membrane=spread_edge),
}
"""Mode to its functions."""
