"""The outline of the pasted face: steps in the picture that run along it. Pure functions, array in, numbers out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from reports.measures import NOISE, SECTORS, Doubles, Zones

INNER, OUTER = 0.14, 0.05
"""Shares of the face's width: the paste's edge is looked for so far inside and outside of the face's outline."""
NEAR = 0.012
"""Share of the face's width over half of which a step counts as sharp."""


def profile(grey: Floats, at: Zones) -> tuple[Doubles, Doubles]:
    """(SECTORS, B) mean of (H, W) values in bins along the way into the face, one direction a row; and their pixels.

    Bins are one pixel wide, from OUTER outside the outline to INNER inside it.
    """
    low, high = -round(OUTER * at.width) - 3, round(INNER * at.width) + 3
    bins = high - low + 1
    place = np.rint(at.distance).astype(np.int64) - low
    where = (place >= 0) & (place < bins)
    label = at.sector[where] * bins + place[where]
    pixels = np.bincount(label, minlength=SECTORS * bins).astype(np.float64)
    sums = np.bincount(label, weights=grey[where], minlength=SECTORS * bins)
    return (sums / np.maximum(pixels, 1)).reshape(SECTORS, bins), pixels.reshape(SECTORS, bins)


def line(values: Doubles, pixels: Doubles, width: float) -> tuple[Doubles, Doubles]:
    """Steps along the outline at every distance from it: the size common to the directions, and all of them.

    Of `profile`: (B,) median and (SECTORS, B) absolute differences over NEAR of the face's width to either side.
    """
    half = max(round(NEAR * width / 2), 1)
    step = np.full(values.shape, np.nan)
    step[:, half:-half] = np.abs(values[:, 2 * half :] - values[:, : -2 * half])
    step[pixels < 3] = np.nan
    with np.errstate(invalid="ignore"):
        known = np.isfinite(step).sum(0) >= SECTORS // 2
        common = np.full(step.shape[1], np.nan)
        if known.any():
            common[known] = np.nanmedian(step[:, known], axis=0)
    return common, step


def edge(output: Floats, reference: Floats, at: Zones) -> float:
    """Sharp step along the outline that the reference does not have, in luma per cent (about L*) above its surroundings.

    (H, W) luma 0..255 each. The worst distance from the outline counts, the median of the directions there.
    """
    common, _ = line(*profile((output - reference) * (100 / 255), at), at.width)
    known = common[np.isfinite(common)]
    return float(known.max() - np.median(known)) if len(known) > 4 else float("nan")


def edge_alone(output: Floats, at: Zones) -> float:
    """Without a reference: the gradient that lies along the face's edge over the gradient beside it.

    `output` is (H, W) luma. About 1 where the edge is nothing special; a cut-out has a sharp line there.
    """
    dx, dy = cv2.Sobel(output, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(output, cv2.CV_32F, 0, 1) / 8
    nx, ny = cv2.Sobel(at.distance, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(at.distance, cv2.CV_32F, 0, 1) / 8
    across = np.abs(dx * nx + dy * ny).astype(np.float32)
    values, pixels = profile(across, at)
    values[pixels < 3] = np.nan
    return _stands_out(values)


def _stands_out(values: NDArray[np.float64]) -> float:
    """Largest ratio of a bin's gradient to that of the bins 3 to 8 further on either side, median of the directions."""
    bins = values.shape[1]
    best = float("nan")
    padded = np.pad(values, ((0, 0), (8, 8)), constant_values=np.nan)
    for k in range(3, bins - 3):
        beside = np.concatenate([padded[:, k : k + 5], padded[:, k + 12 : k + 17]], axis=1)
        known = np.isfinite(beside).sum(1) >= 4
        if (known & np.isfinite(values[:, k])).sum() < SECTORS // 2:
            continue
        off = np.where(np.isfinite(beside), beside, 0).sum(1) / np.maximum(np.isfinite(beside).sum(1), 1)
        ratio = (values[known, k] + NOISE) / (off[known] + NOISE)
        found = float(np.nanmedian(ratio))
        best = found if not best >= found else best
    return best
