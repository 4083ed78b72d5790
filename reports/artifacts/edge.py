"""Edge of the pasted face against its reference: brightness steps along its outline. Arrays in, number out."""

from __future__ import annotations

import numpy as np

from curate.types import Floats
from reports.artifacts.measures import INNER, OUTER, SECTORS, Doubles, Zones

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
