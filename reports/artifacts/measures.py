"""Measures of the face in one frame: pure functions, array in, number out. Thresholds are in `kinds.py`.

All work on a crop around the face; `Zones` says which of its pixels are face, ring around the face, and edge. Higher
is always worse. A value that cannot be computed is NaN.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Image

Doubles = NDArray[np.float64]
SECTORS = 48
"""Number of directions into which the edge of the face is divided."""
INNER, OUTER = 0.14, 0.05
"""Fractions of the face's width: the edge of a paste is searched this far inside and outside the face's outline."""
NOISE = 0.6
"""Luma levels (of 255) of detail that any encoder adds or removes: added to both sides of a ratio of detail."""


@dataclass(frozen=True)
class Zones:
    """Zones of a crop (H, W): face, ring and edge; made by `zones`."""

    inside: NDArray[np.bool_]
    """(H, W) the face, without a thin margin at its edge."""
    ring: NDArray[np.bool_]
    """(H, W) the surroundings of the face, without a thin margin at its edge."""
    band: NDArray[np.intp]
    """(P,) the pixels near the edge of the face, OUTER of its width outside to INNER inside, as flat indices."""
    sector: NDArray[np.int64]
    """(P,) 0..SECTORS-1, their direction from the face's centre, clockwise in the picture from image right."""
    distance: Floats
    """(H, W) pixels to the edge of the face, > 0 inside."""
    width: float
    """Size of the face in pixels of the crop: square root of its area."""


def zones(mask: Floats) -> Zones | None:
    """The zones of a (H, W) mask in 0..1; None where the face is smaller than 24 pixels or has no ring."""
    face = (mask > 0.5).astype(np.uint8)
    width = float(np.sqrt(cv2.countNonZero(face)))
    if width < 24 or face.all():
        return None
    distance = np.asarray(
        cv2.distanceTransform(face, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - face, cv2.DIST_L2, 3), np.float32
    )
    ring = (distance < -0.05 * width) & (distance > -0.3 * width)
    if cv2.countNonZero(ring.view(np.uint8)) < 64:
        return None
    moments = cv2.moments(face, binaryImage=True)
    low, high = -round(OUTER * width) - 3, round(INNER * width) + 4
    band = np.flatnonzero((distance >= low) & (distance < high))
    y, x = np.divmod(band, face.shape[1])
    turn = cv2.phase(
        (x - moments["m10"] / moments["m00"]).astype(np.float32),
        (y - moments["m01"] / moments["m00"]).astype(np.float32),
    ).ravel()
    sector = np.minimum((turn * np.float32(SECTORS / (2 * np.pi))).astype(np.int64), SECTORS - 1)
    return Zones(distance > 0.04 * width, ring, band, sector, distance, width)


def lab(image: Image) -> Floats:
    """(H, W, 3) uint8 sRGB to float32 CIELAB under D65: L* 0..100, a*, b*."""
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(np.float32, copy=False)


def luma(image: Image) -> Floats:
    """(H, W, 3) uint8 RGB to float32 luma 0..255 with the weights of BT.601."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def ciede2000(first: NDArray[np.floating], second: NDArray[np.floating]) -> Doubles:
    """CIEDE2000 colour difference of two (..., 3) CIELAB arrays, kL = kC = kH = 1; about 1 is just noticeable.

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


def colour(output: Floats, reference: Floats, weight: Floats, shift: NDArray[np.floating]) -> Doubles:
    """(G, G) CIEDE2000 of cells, after the colour `shift` (3,) of the surroundings is subtracted from the output.

    `output` and `reference` are (G, G, 3) CIELAB means of cells, not pixels: another face has other pores, but must
    have the light and colour of the place. NaN where `weight` (G, G) says that less than 0.9 of a cell is face.
    """
    apart = ciede2000(output - np.asarray(shift), reference)
    return np.asarray(np.where(weight >= 0.9, apart, np.nan))


def tilt(difference: Floats, weight: Floats) -> tuple[float, float]:
    """Slope of (G, G) lightness differences across the face, in L* from side to side: rightward, downward.

    A plane by least squares over the cells with a `weight` (G, G) of at least 0.9, then again without those that are
    farther from it than 3 median distances: a hole is not light. NaN for fewer than 12 cells.
    """
    known = weight >= 0.9
    if known.sum() < 12:
        return float("nan"), float("nan")
    y, x = np.nonzero(known)
    terms = np.column_stack([x, y, np.ones(len(x))]).astype(np.float64)
    values = difference[known].astype(np.float64)
    plane = np.linalg.lstsq(terms, values, rcond=None)[0]
    away = np.abs(values - terms @ plane)
    near = away <= 3 * np.median(away) + 1e-9
    if near.sum() >= 12:
        plane = np.linalg.lstsq(terms[near], values[near], rcond=None)[0]
    return float(plane[0] * np.ptp(x)), float(plane[1] * np.ptp(y))


def bands(grey: Floats, at: Zones) -> tuple[float, float]:
    """Fine detail in luma levels: in the face, and in the ring around it.

    Root mean square of what a Gaussian blur of one pixel removes from (H, W) luma.
    """
    return _detail(grey - blurred(grey, 1.0), at)


def _detail(band: Floats, at: Zones) -> tuple[float, float]:
    square = cv2.multiply(band, band)
    inside, ring = (cv2.mean(square, zone.view(np.uint8))[0] for zone in (at.inside, at.ring))
    return float(inside**0.5), float(ring**0.5)


def blurred(grey: Floats, sigma: float) -> Floats:
    """Gaussian blur of (H, W), truncated at 3 sigma."""
    side = 2 * int(np.ceil(3 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(grey, (side, side), sigma), np.float32)


def sharpness(mine: tuple[float, ...], theirs: tuple[float, ...], noise: float = 0.0) -> tuple[float, float]:
    """Detail of the face that is missing, and that is added, against the reference's, in octaves; 0 or more each.

    `bands` of output and reference. It counts relative to the same ratio in the ring, which removes what an encoder
    does to the whole picture, as far as the ring has detail of its own; and beyond what an encoder that leaves `noise`
    luma levels around the face removes or adds in the face itself.
    """
    before = theirs[1]
    whole = octaves(mine[1], before) * before**2 / (before**2 + (2 * NOISE) ** 2)
    relative = octaves(mine[0], theirs[0]) - whole
    level = theirs[0] ** 2
    least, most = max(level - noise**2, 0.0) ** 0.5, (level + noise**2) ** 0.5
    lost, added = min(-relative, octaves(least, mine[0])), min(relative, octaves(mine[0], most))
    return max(lost, 0.0), max(added, 0.0)


def octaves(mine: float, theirs: float) -> float:
    """Ratio of two amounts of detail as a power of two, with NOISE on both sides."""
    return float(np.log2((mine + NOISE) / (theirs + NOISE)))


def light(grey: Floats, where: NDArray[np.bool_]) -> float:
    """Natural logarithm of the mean luma under a mask."""
    return float(np.log(max(cv2.mean(grey, where.view(np.uint8))[0], 1.0)))


def flow(mine: Floats, theirs: Floats) -> Floats:
    """Optical flow (H, W, 2), pixels rightward and downward, from `theirs` to `mine`, (H, W) luma each.

    Dense inverse search (Kroeger et al., ECCV 2016), as OpenCV has it.
    """
    return np.asarray(_search().calc(_bytes(theirs), _bytes(mine), None), np.float32)  # type: ignore[call-overload]


def travel(moved: Floats, grey: Floats, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Median (x, y) of a flow (H, W, 2) under a mask, over the 30 % of pixels with the steepest gradients.

    Where a picture is flat the flow is only a guess. NaN where the mask is empty.
    """
    if not where.any():
        return float("nan"), float("nan")
    steep = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))[where]
    least = np.partition(steep, int(0.7 * len(steep)))[int(0.7 * len(steep))]
    x, y = np.median(moved[where][steep >= least], axis=0)
    return float(x), float(y)


@functools.cache
def _search() -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)


def _bytes(grey: Floats) -> NDArray[np.uint8]:
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def motion(now: Floats, before: Floats, where: NDArray[np.bool_]) -> float:
    """Mean change of the slightly blurred luma under a mask, in levels of 255, from one frame to the next.

    A change that is the same everywhere is left out: it is light, not movement.
    """
    zone = where.view(np.uint8)
    if not where.any():
        return float("nan")
    change = blurred(now - before, 1.5)
    return float(cv2.mean(np.abs(change - np.float32(cv2.mean(change, zone)[0])), zone)[0])
