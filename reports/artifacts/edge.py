"""Edge of the pasted face: brightness steps along its outline. Pure functions, array in, number out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from reports.artifacts.measures import INNER, OUTER, SECTORS, Doubles, Zones

UPPER = 20
"""Number of SECTORS, around the forehead, that are measured without a reference."""
STRONGEST = 6.0
"""Luma per cent: stronger steps are clipped to this."""
THIN = (0.55, 0.65)
"""Fraction of a line's contrast within three pixels: it counts from the first value on, and fully from the second.
A fringe of hair is broad, the edge of a paste is not."""
SIDEWAYS = 0.3
"""Cost in luma per cent for a chain of steps that moves sideways by a pixel."""
NEAR = 0.012
"""Fraction of the face's width within half of which a step counts as sharp."""


def profile(grey: Floats, at: Zones) -> Doubles:
    """(SECTORS, B) means of (H, W) values in bins of distance from the outline, one direction per row.

    Bins are one pixel wide, from OUTER outside the outline to INNER inside it; NaN with fewer than 3 pixels.
    """
    low, high = -round(OUTER * at.width) - 3, round(INNER * at.width) + 3
    bins = high - low + 1
    far = at.distance.ravel()[at.band]
    place = np.floor(far - 0.5 * np.sign(far)).astype(np.int64) - low  # no pixel lies on the outline
    where = (place >= 0) & (place < bins)
    label = at.sector[where] * bins + place[where]
    pixels = np.bincount(label, minlength=SECTORS * bins).astype(np.float64)
    sums = np.bincount(label, weights=grey.ravel()[at.band[where]], minlength=SECTORS * bins)
    pixels[pixels < 3] = np.nan
    return np.asarray(sums / pixels).reshape(SECTORS, bins)


def steps(values: Doubles, width: float) -> Doubles:
    """(B,) size of the step that the directions of a `profile` have in common, at every distance from the outline.

    The median of the absolute differences over NEAR of the face's width.
    """
    half = max(round(NEAR * width / 2), 1)
    step = np.full(values.shape, np.nan)
    step[:, half:-half] = np.abs(values[:, 2 * half :] - values[:, : -2 * half])
    with np.errstate(invalid="ignore"):
        known = np.isfinite(step).sum(0) >= SECTORS // 2
        common = np.full(values.shape[1], np.nan)
        if known.any():
            ordered = np.sort(step[:, known], axis=0)  # NaN last
            count, columns = np.isfinite(ordered).sum(0), np.arange(ordered.shape[1])
            common[known] = (ordered[(count - 1) // 2, columns] + ordered[count // 2, columns]) / 2
    return common


def edge(output: Floats, reference: Floats, at: Zones) -> float:
    """Sharp step along the outline that the reference does not have, in luma per cent (about L*).

    (H, W) luma 0..255 each. The worst distance from the outline counts, the median of the directions there, above the
    usual step at the other distances.
    """
    common = steps(profile((output - reference) * (100 / 255), at), at.width)
    known = common[np.isfinite(common)]
    return float(known.max() - np.median(known)) if len(known) > 4 else float("nan")


def line(output: Floats, at: Zones, roll: float) -> float:
    """Sharp line around the upper face in luma per cent (about L*), for (H, W) luma 0..255 without a reference.

    In each of UPPER directions the step over three pixels, beyond the steps right before and behind it: shading and
    soft contours go on, the edge of a paste does not. Of these the strongest chain whose distance from the outline
    changes by a pixel at most from one direction to the next; the middle one of its steps is given, less that of the
    next strongest chain, for in rough skin and hair there is always some. Hair and glasses cross only some directions;
    jaw and cheeks are left out, for there a face has an edge of its own. `roll` is the head's in degrees, clockwise in
    the picture.
    """
    values = profile(output * np.float32(100 / 255), at)
    up = round(SECTORS * (0.75 + roll / 360))
    values = values[np.arange(up - UPPER // 2, up + UPPER // 2) % SECTORS]
    step = np.abs(values[:, 2:] - values[:, :-2])
    with np.errstate(invalid="ignore"):
        sharp = step[:, 2:-2] - np.fmax(step[:, :-4], step[:, 4:])
    if np.isfinite(sharp).any(1).sum() < 0.8 * UPPER:
        return float("nan")
    sharp = np.clip(np.nan_to_num(sharp, nan=0.0), 0.0, STRONGEST)
    first = _chain(sharp)
    rows, columns = np.arange(UPPER), np.arange(sharp.shape[1])
    others = np.where(np.abs(columns - first[:, None]) <= 2, 0.0, sharp)
    second = _chain(others)
    stands_out = float(np.median(sharp[rows, first]) - np.median(others[rows, second]))
    return stands_out * float(np.clip((_thin(values, first + 3) - THIN[0]) / (THIN[1] - THIN[0]), 0, 1))


def _thin(values: Doubles, at: NDArray[np.int64]) -> float:
    """Fraction of the contrast within 5 pixels of the columns `at` (S,) that lies in 3 of them, median over rows."""
    rows, last = np.arange(len(values)), values.shape[1] - 1
    around = np.stack([values[rows, np.clip(at + k, 0, last)] for k in range(-5, 6)])
    with np.errstate(invalid="ignore"):
        whole = np.fmax.reduce(around) - np.fmin.reduce(around)
        share = np.abs(around[6] - around[4]) / np.maximum(whole, 0.5)
    return float(np.nanmedian(share))


def _chain(values: Doubles) -> NDArray[np.int64]:
    """(S,) columns of the path through (S, B) values with the greatest sum, which moves sideways by at most one bin per
    row. Dynamic programming (Viterbi 1967)."""
    rows, bins = values.shape
    here = np.arange(bins)
    total, came = values[0], np.zeros((rows, bins), np.int64)
    for row in range(1, rows):
        arriving = np.full((3, bins), -np.inf)
        arriving[1] = total
        arriving[0, 1:], arriving[2, :-1] = total[:-1] - SIDEWAYS, total[1:] - SIDEWAYS
        best = arriving.argmax(0)
        came[row], total = here + best - 1, arriving[best, here] + values[row]
    out = np.full(rows, int(total.argmax()))
    for row in range(rows - 1, 0, -1):
        out[row - 1] = came[row, out[row]]
    return out
