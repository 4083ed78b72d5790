"""The swapped crop back into its frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Image


def paste(frame: Image, rgb: Floats, mask: Floats, matrix: NDArray[np.floating]) -> tuple[Image, Floats]:
    """The frame (H, W, 3) with the crop laid over it, and the mask (H, W) float32 in 0..1 where it was.

    `rgb` (S, S, 3) in 0..1 and `mask` (S, S) lie in the crop, `matrix` (2, 3) leads from the frame to it. Where the
    mask is 0 the frame's bytes are the same; the frame that was given is not changed.
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
    face = cv2.warpAffine(rgb, local, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    alpha = np.clip(alpha, 0, 1)[..., None]
    under = frame[top:bottom, left:right].astype(np.float32)
    mixed = under + alpha * (np.clip(face, 0, 1) * 255 - under)
    output = frame.copy()
    output[top:bottom, left:right] = np.rint(mixed).astype(np.uint8)
    full[top:bottom, left:right] = alpha[..., 0]
    return output, full


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
