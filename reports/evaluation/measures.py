"""Figures of one frame, or of two that follow each other, against the footage. Pure functions; no thresholds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Image
from reports.artifacts.measures import flow

EYES = (33, 133, 362, 263)
"""Corners of both eyes in the mesh: right outer and inner, left inner and outer."""
SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, pixels (Wang et al. 2004: 11 x 11)."""
SEEN = 2.0
"""Levels: pixels that the footage's own flow misses by more than this are hidden, and not counted."""


def landmark_error(own: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Mean distance of landmarks (478, 2+) after their centres are aligned, in per cent of the eyes' distance (NME).

    The distance is that of the eyes' middles in `other`; NaN if they coincide. Without the alignment a face of another
    width would count as displaced.
    """
    a, b = (np.asarray(points, np.float64)[:, :2] for points in (own, other))
    right, left = (b[list(pair)].mean(0) for pair in (EYES[:2], EYES[2:]))
    apart = float(np.linalg.norm(right - left))
    if apart == 0:
        return float("nan")
    moved = (a - a.mean(0)) - (b - b.mean(0))
    return float(100 * np.linalg.norm(moved, axis=1).mean() / apart)


def outside_ssim(output: Image, reference: Image, face: NDArray[np.bool_]) -> float:
    """Mean SSIM of the luma of two frames (H, W, 3) outside `face` (H, W); NaN if nothing lies outside.

    Gaussian window of 11 x 11 pixels, data range 255 (Wang et al. 2004).
    """
    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (output, reference))
    mean_a, mean_b, aa, bb, ab = (cv2.GaussianBlur(x, (11, 11), SIGMA) for x in (a, b, a * a, b * b, a * b))
    aa, bb, ab = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = (2 * mean_a * mean_b + c1) * (2 * ab + c2) / ((mean_a**2 + mean_b**2 + c1) * (aa + bb + c2))
    return float(values[~face].mean()) if (~face).any() else float("nan")


def warping_error(
    output: tuple[Image, Image], reference: tuple[Image, Image], face: NDArray[np.bool_]
) -> tuple[float, float]:
    """Warping error of output and reference in levels, from (frame before, frame) each (H, W, 3) (Lai et al. 2018).

    The frame before is moved along the reference's optical flow; the mean absolute difference to the frame in `face`
    (H, W), where the flow explains the reference to within SEEN levels or its median. NaN where nothing is left.
    """
    before, now = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in reference)
    moves = flow(before, now)
    rows, columns = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
    at: tuple[Floats, Floats] = (columns + moves[..., 0], rows + moves[..., 1])

    def missed(pair: tuple[Image, Image]) -> Floats:
        moved = cv2.remap(pair[0], *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.absdiff(moved, pair[1]).mean(axis=2), np.float32)

    own, footage = missed(output), missed(reference)
    if not face.any():
        return float("nan"), float("nan")
    counted = face & (footage <= max(SEEN, float(np.median(footage[face]))))
    return (float(own[counted].mean()), float(footage[counted].mean())) if counted.any() else (float("nan"),) * 2


def outline(points: NDArray[np.floating], shape: tuple[int, int], wider: float = 1.0) -> NDArray[np.bool_]:
    """Hull (H, W) of landmarks (N, 2+), enlarged about its middle by the factor `wider`."""
    middle = np.asarray(points)[:, :2].mean(0)
    grown = middle + wider * (np.asarray(points)[:, :2] - middle)
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(grown).astype(np.int32)), 1)
    return mask.astype(bool)


def angle(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Angle in degrees between two vectors (3,)."""
    cosine = float(first @ second) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
