"""What is measured on one frame's face: pure functions, array in, number out. Thresholds stand in `thresholds.py`.

All work on a crop around the face, `Zones` says which of its pixels are face, ring around the face, and edge. Higher
is always worse. A value that cannot be computed is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Image

Doubles = NDArray[np.float64]
SECTORS = 24
"""Number of pieces into which the edge of the face is cut."""
CELLS = 6
"""The face's box is cut into CELLS x CELLS cells for colour."""
NOISE = 0.6
"""Luma levels (of 255) of detail that any encoder adds or takes: added to both sides of a ratio of detail."""


@dataclass(frozen=True)
class Zones:
    """Which pixels of a crop of (H, W) are what; made by `zones`."""

    inside: NDArray[np.bool_]
    """(H, W) the face, without a thin margin at its edge."""
    ring: NDArray[np.bool_]
    """(H, W) what lies around the face, without a thin margin at its edge."""
    inner: NDArray[np.bool_]
    """(H, W) the thin band just inside the edge."""
    outer: NDArray[np.bool_]
    """(H, W) the thin band just outside the edge."""
    sector: NDArray[np.int64]
    """(H, W) 0..SECTORS-1, direction from the face's centre."""
    cell: NDArray[np.int64]
    """(H, W) 0..CELLS*CELLS-1 inside the face's box, -1 elsewhere."""
    distance: Floats
    """(H, W) pixels to the edge of the face, > 0 inside."""
    width: float
    """Size of the face in pixels of the crop: square root of its area."""


def zones(mask: Floats) -> Zones | None:
    """The zones of a (H, W) mask in 0..1; None where the face is smaller than 24 pixels or has no ring."""
    face = (mask > 0.5).astype(np.uint8)
    width = float(np.sqrt(face.sum()))
    if width < 24 or face.all():
        return None
    distance = cv2.distanceTransform(face, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - face, cv2.DIST_L2, 3)
    rows, columns = np.nonzero(face)
    y, x = np.indices(face.shape)
    turn = np.arctan2(y - rows.mean(), x - columns.mean()) / (2 * np.pi) + 0.5
    row = (y - rows.min()) * CELLS // (np.ptp(rows) + 1)
    column = (x - columns.min()) * CELLS // (np.ptp(columns) + 1)
    in_box = (row >= 0) & (row < CELLS) & (column >= 0) & (column < CELLS)
    ring = (distance < -0.05 * width) & (distance > -0.3 * width)
    if ring.sum() < 64:
        return None
    return Zones(
        distance > 0.04 * width,
        ring,
        (distance > 0.015 * width) & (distance < 0.06 * width),
        (distance < -0.015 * width) & (distance > -0.06 * width),
        np.minimum((turn * SECTORS).astype(np.int64), SECTORS - 1),
        np.where(in_box, row * CELLS + column, -1),
        distance.astype(np.float32),
        width,
    )


def lab(image: Image) -> Floats:
    """(H, W, 3) uint8 sRGB to float32 CIELAB under D65: L* 0..100, a*, b*."""
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32, copy=False)


def luma(image: Image) -> Floats:
    """(H, W, 3) uint8 RGB to float32 luma 0..255 with the weights of BT.601."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def ciede2000(first: NDArray[np.floating], second: NDArray[np.floating]) -> Doubles:
    """Colour difference CIEDE2000 of two (..., 3) CIELAB arrays, kL = kC = kH = 1; 1 is about the least one sees.

    Sharma, Wu, Dalal: The CIEDE2000 color-difference formula (Color Research and Application 30, 2005).
    """
    l1, a1, b1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    seventh = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1 = np.degrees(np.arctan2(b1, a1 * stretch)) % 360
    h2 = np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where(~grey & (h2 - h1 == 180), 180, turn)
    hue = np.where(grey, h1 + h2, (h1 + h2) / 2)
    hue = np.where(~grey & (np.abs(h1 - h2) > 180), np.where(h1 + h2 < 360, hue + 180, hue - 180), hue)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * chroma * weight)
    bend = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    rotation = -np.sin(bend) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return np.asarray(np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rotation * dc * dh, 0)))


def _cos(degrees: Doubles) -> Doubles:
    return np.asarray(np.cos(np.radians(degrees)))


def means(values: Floats, label: NDArray[np.int64], where: NDArray[np.bool_], count: int, least: int = 8) -> Doubles:
    """(count, C) mean of (H, W, C) values over each label's pixels; NaN for labels with fewer than `least`."""
    chosen = label[where]
    pixels = np.bincount(chosen, minlength=count)[:count].astype(np.float64)
    sums = [np.bincount(chosen, weights=values[..., c][where], minlength=count)[:count] for c in range(values.shape[2])]
    pixels[pixels < least] = np.nan
    return np.asarray(np.stack(sums, axis=1) / pixels[:, None])


def colour(output: Floats, reference: Floats, at: Zones) -> float:
    """Mean CIEDE2000 over the cells of the face, after the ring's own shift of colour is taken from the output.

    Cells, not pixels: another face has other pores, but must have the light and colour of the place. `output` and
    `reference` are (H, W, 3) CIELAB.
    """
    shift = np.median((output - reference)[at.ring], axis=0)
    where = at.inside & (at.cell >= 0)
    mine = means(output, at.cell, where, CELLS * CELLS, 16) - shift
    theirs = means(reference, at.cell, where, CELLS * CELLS, 16)
    known = ~np.isnan(mine[:, 0])
    return float(ciede2000(mine[known], theirs[known]).mean()) if known.any() else float("nan")


def edge(output: Floats, reference: Floats, at: Zones) -> float:
    """Colour step across the face's edge that the reference does not have: third quartile of the sectors, CIELAB."""
    step = _steps(output, at) - _steps(reference, at)
    sizes = np.linalg.norm(step, axis=1)
    return float(np.nanpercentile(sizes, 75)) if np.isfinite(sizes).sum() >= SECTORS // 2 else float("nan")


def _steps(values: Floats, at: Zones) -> Doubles:
    return means(values, at.sector, at.inner, SECTORS) - means(values, at.sector, at.outer, SECTORS)


def edge_alone(output: Floats, at: Zones) -> float:
    """Without a reference: the gradient that lies exactly along the face's edge over the gradient beside it.

    `output` is (H, W) luma. About 1 where the edge is nothing special; a cut-out has a sharp line there.
    """
    dx, dy = cv2.Sobel(output, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(output, cv2.CV_32F, 0, 1) / 8
    nx, ny = cv2.Sobel(at.distance, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(at.distance, cv2.CV_32F, 0, 1) / 8
    across = np.abs(dx * nx + dy * ny)[..., None].astype(np.float32)
    line = np.abs(at.distance) <= max(1.5, 0.01 * at.width)
    beside = (np.abs(at.distance) > 0.03 * at.width) & (np.abs(at.distance) < 0.08 * at.width)
    on, off = means(across, at.sector, line, SECTORS, 3), means(across, at.sector, beside, SECTORS)
    ratio = (on + NOISE) / (off + NOISE)
    return float(np.nanmedian(ratio)) if np.isfinite(ratio).sum() >= SECTORS // 2 else float("nan")


def detail(grey: Floats, where: NDArray[np.bool_]) -> float:
    """Detail in luma levels: root mean square of what a Gaussian blur of one pixel takes from (H, W) luma."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    return float(np.sqrt(np.mean(np.square(fine[where]))))


def sharpness(output: Floats, reference: Floats, at: Zones) -> float:
    """Detail of the face beside the reference's, over the same ratio of the ring, in octaves; < 0 is softer.

    Both (H, W) luma. Dividing by the ring takes out what an encoder does to the whole picture; it counts only as far
    as the ring has detail of its own.
    """
    face = _octaves(detail(output, at.inside), detail(reference, at.inside))
    before = detail(reference, at.ring)
    around = _octaves(detail(output, at.ring), before)
    return face - around * before**2 / (before**2 + (2 * NOISE) ** 2)


def _octaves(mine: float, theirs: float) -> float:
    return float(np.log2((mine + NOISE) / (theirs + NOISE)))


def sharpness_alone(output: Floats, at: Zones) -> float:
    """Without a reference: detail of the face over detail of the ring, in octaves."""
    return _octaves(detail(output, at.inside), detail(output, at.ring))


def light(grey: Floats, where: NDArray[np.bool_]) -> float:
    """Natural logarithm of the mean luma under a mask."""
    return float(np.log(max(float(grey[where].mean()), 1.0)))


def misalignment(output: Floats, reference: Floats, at: Zones) -> float:
    """Shift between two (H, W) lumas inside the face in per cent of the face's width, by phase correlation.

    NaN where the two do not match anywhere (response under .08) or have nothing to match.
    """
    window = np.asarray(cv2.GaussianBlur(at.inside.astype(np.float32), (0, 0), 0.03 * at.width), np.float32)
    mine, theirs = _texture(output, window), _texture(reference, window)
    if min(float(np.abs(mine).max()), float(np.abs(theirs).max())) < 2:
        return float("nan")
    (x, y), response = cv2.phaseCorrelate(theirs, mine)
    return float(100 * np.hypot(x, y) / at.width) if response >= 0.08 else float("nan")


def _texture(grey: Floats, window: Floats) -> Floats:
    """Middle frequencies under a window, padded to a square: phaseCorrelate is biased where it has to pad itself."""
    band = (cv2.GaussianBlur(grey, (0, 0), 1.0) - cv2.GaussianBlur(grey, (0, 0), 8.0)) * window
    side = cv2.getOptimalDFTSize(max(grey.shape) + max(grey.shape) % 2)
    square = np.zeros((side + side % 2, side + side % 2), np.float32)
    square[: grey.shape[0], : grey.shape[1]] = band
    return square


def motion(now: Floats, before: Floats, where: NDArray[np.bool_]) -> float:
    """Mean change of the slightly blurred luma under a mask, in levels of 255, from one frame to the next."""
    change = cv2.GaussianBlur(now, (0, 0), 1.5) - cv2.GaussianBlur(before, (0, 0), 1.5)
    return float(np.abs(change[where]).mean())


def difference(output: Floats, reference: Floats, at: Zones) -> float:
    """How much another face this is: mean CIELAB distance inside the face minus that in the ring, at least 0."""
    distance = np.linalg.norm(output - reference, axis=2)
    return max(float(distance[at.inside].mean() - distance[at.ring].mean()), 0.0)
