"""The outline of the pasted face: steps in the picture that run along it. Pure functions, array in, numbers out."""

from __future__ import annotations

import numpy as np

from curate.types import Floats
from reports.measures import SECTORS, Doubles, Zones

INNER, OUTER = 0.14, 0.05
"""Shares of the face's width: the paste's edge is looked for so far inside and outside of the face's outline."""
PLACES = 24
"""Places at which steps are kept."""
FLAT = 0.4
"""Luma per cent: steps are told apart only above this."""
NEAR = 0.012
"""Share of the face's width over half of which a step counts as sharp."""


def profile(grey: Floats, at: Zones) -> Doubles:
    """(SECTORS, B) mean of (H, W) values in bins along the way into the face, one direction a row.

    Bins are one pixel wide, from OUTER outside the outline to INNER inside it; NaN with fewer than 3 pixels.
    """
    low, high = -round(OUTER * at.width) - 3, round(INNER * at.width) + 3
    bins = high - low + 1
    place = np.floor(at.distance - 0.5 * np.sign(at.distance)).astype(np.int64) - low  # no pixel lies on the outline
    where = (place >= 0) & (place < bins)
    label = at.sector[where] * bins + place[where]
    pixels = np.bincount(label, minlength=SECTORS * bins).astype(np.float64)
    sums = np.bincount(label, weights=grey[where], minlength=SECTORS * bins)
    pixels[pixels < 3] = np.nan
    return np.asarray(sums / pixels).reshape(SECTORS, bins)


def line(values: Doubles, width: float) -> Doubles:
    """(B,) steps along the outline at every distance from it, of a `profile`: the size common to the directions.

    The median of the absolute differences over NEAR of the face's width.
    """
    half = max(round(NEAR * width / 2), 1)
    step = np.full(values.shape, np.nan)
    step[:, half:-half] = np.abs(values[:, 2 * half :] - values[:, : -2 * half])
    with np.errstate(invalid="ignore"):
        known = np.isfinite(step).sum(0) >= SECTORS // 2
        common = np.full(values.shape[1], np.nan)
        if known.any():
            common[known] = np.nanmedian(step[:, known], axis=0)
    return common


def edge(output: Floats, reference: Floats, at: Zones) -> float:
    """Sharp step along the outline that the reference does not have, in luma per cent (about L*).

    (H, W) luma 0..255 each. The worst distance from the outline counts, the median of the directions there, above the
    usual step at the other distances.
    """
    common = line(profile((output - reference) * (100 / 255), at), at.width)
    known = common[np.isfinite(common)]
    return float(known.max() - np.median(known)) if len(known) > 4 else float("nan")


def lines(output: Floats, at: Zones) -> Floats:
    """(PLACES,) natural logarithm of the steps along the outline of (H, W) luma, from outside of it to inside.

    Steps as in `edge`, without a reference, at even places over OUTER and INNER; NaN where too little is seen.
    """
    common = line(profile(output * np.float32(100 / 255), at), at.width)
    known = np.isfinite(common)
    if known.sum() < 5:
        return np.full(PLACES, np.nan, np.float32)
    where = np.linspace(0, len(common) - 1, PLACES)
    return np.asarray(np.log(np.interp(where, np.flatnonzero(known), common[known]) + FLAT), np.float32)
