"""Broken geometry: features out of place in the face, from the landmarks of its frames. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reports.artifacts import temporal as t
from reports.artifacts.landmarks import FIRST, PARTS
from reports.artifacts.look import FEATURES
from reports.artifacts.patch import REGIONS, WHOLE

Doubles = NDArray[np.float64]
GAP = 3
"""Frames from one reading of landmarks to the next, at most, between which they are interpolated."""
ENOUGH = 40
"""Number of faces below which the usual shape does not follow the head's turn."""
RIDGE = 0.05
"""Ridge per face of that fit, for angles in units of 30 degrees."""
SCATTER = (0.04, 0.06, 0.03, 0.12, 0.05, 0.08, 0.05, 0.08, 0.10, 0.10, 0.08, 0.15)
ALONE = (0.05, 0.09, 0.05, 0.11, 0.07, 0.11, 0.08, 0.11, 0.09, 0.10, 0.24, 0.40)
"""cm by which each of SHAPE scatters where nothing is broken: against a reference, and in a video on its own, where the
mouth has all its expressions. Fitted on clean swaps of one clip, and on 15 clips of untouched footage."""
PROFILE, PLAUSIBLE = 45.0, 10.0
"""Degrees of yaw, and multiples of the scatter, beyond which landmarks are guesses, or those of no face at all."""
SLIPPED = (50.0, 25.0, 25.0)
"""Multiples of the scatter for which a feature counts whose look is found elsewhere (1 in `look.slipped`); the look of
eyes changes with the gaze. In five frames in a row nine torn noses reach 0.10 to 0.71, 20 clips without a fault 0.00
(nose) and up to 0.13 (eyes)."""
UNLIKE, MOST_UNLIKE = 6.0, 0.45
"""Multiples of the scatter for which a nose counts that is unlike its usual look, up to this much: a hand before it is
unlike it, too."""
GENTLE, FAR, STEEP = 0.25, 7.5, 3.0
"""Where the look is known, landmarks out of place count this much each, and beyond FAR so much more: they follow every
expression."""
OUTSIDE = 3.0
"""Faces further than this many median distances from the fit do not take part in its second round."""


def between(values: Doubles) -> Doubles:
    """(T, C) values with rows of NaN that lie at most GAP from known ones filled: interpolated, or held at the ends."""
    known = np.flatnonzero(np.isfinite(values).all(1))
    if not len(known) or len(known) == len(values):
        return values
    out, all_rows = values.copy(), np.arange(len(values))
    filled = np.column_stack([np.interp(all_rows, known, column[known]) for column in values.T])
    right = np.searchsorted(known, all_rows).clip(0, len(known) - 1)
    left = np.searchsorted(known, all_rows, "right").clip(1, len(known)) - 1
    gap = known[right] - known[left]
    inner = (gap <= GAP) & (all_rows >= known[0]) & (all_rows <= known[-1])
    ends = ((all_rows < known[0]) & (known[0] - all_rows < GAP)) | (
        (all_rows > known[-1]) & (all_rows - known[-1] < GAP)
    )
    wanted = np.asarray(inner | ends) & ~np.isfinite(values).all(1)
    out[wanted] = filled[wanted]
    return out


def out_of_place(away: Doubles, scatter: tuple[float, ...] = SCATTER) -> tuple[Doubles, Doubles]:
    """(T,) largest distance of a feature from its place, and (T,) its region, from (T, 12) distances of SHAPE in cm.

    In multiples of its `scatter` in cm.
    """
    if not len(away):
        return np.empty(0), np.empty(0)
    steady = np.column_stack([t.running_median(column, 3) for column in away.T])
    size: Doubles = np.abs(steady) / np.array(scatter)
    known = np.asarray(np.isfinite(size).all(1), bool)
    worst = np.where(known[:, None], size, 0.0)
    region = np.array([REGIONS.index(part) for part in PARTS])[worst.argmax(1)]
    return np.where(known, worst.max(1), np.nan), np.where(known, region, WHOLE).astype(np.float64)


def unusual(marks: Doubles) -> Doubles:
    """(T, 12) distances of SHAPE from the person's usual shape in all frames, for (T, 20) values of `landmarks.NAMES`.

    The usual shape follows the head's turn where there are ENOUGH faces: the landmarker draws a turned head otherwise.
    """
    shape, known = marks[:, FIRST:], np.isfinite(marks[:, FIRST:]).all(1)
    if not known.any():
        return shape
    away = shape - np.median(shape[known], axis=0)
    if known.sum() < ENOUGH:
        return away
    yaw, pitch = (marks[:, i] - np.median(marks[known, i]) for i in (0, 1))
    terms = np.column_stack([yaw, pitch, yaw**2 / 30, yaw * pitch / 30, pitch**2 / 30, 30 * np.ones(len(yaw))]) / 30
    near = known
    for _ in range(2):
        some = terms[near]
        ridge = RIDGE * len(some) * np.diag([1, 1, 1, 1, 1, 0])
        left = away - terms @ np.linalg.solve(some.T @ some + ridge, some.T @ away[near])
        far = np.abs(left) / np.maximum(np.median(np.abs(left[known]), axis=0), 1e-6)
        near = known & (np.nan_to_num(far).max(1) <= OUTSIDE * 2)
        if near.sum() < ENOUGH:
            break
    return left


def with_look(size: Doubles, region: Doubles, elsewhere: Doubles, unlike: Doubles) -> tuple[Doubles, Doubles]:
    """(T,) distance of features from their place, and (T,) their region, with what their look says.

    size, region: what the landmarks say, which follow every expression. elsewhere (T, 3), unlike (T,): see
    `look.slipped`; where they are not known the landmarks count in full.
    """
    look = np.column_stack([k * t.running_median(v, 3) for k, v in zip(SLIPPED, elsewhere.T, strict=True)])
    known = np.asarray(np.isfinite(look).all(1) & np.isfinite(size), bool)
    placed = GENTLE * size + STEEP * np.maximum(size - FAR, 0) + UNLIKE * np.clip(unlike, 0, MOST_UNLIKE)
    slips = np.where(known[:, None], look, 0.0)
    names = np.array([REGIONS.index(name) for name in FEATURES], np.float64)[slips.argmax(1)]
    both = np.where(known, np.maximum(placed, slips.max(1)), size)
    return both, np.where(known & (slips.max(1) > placed), names, region)


def trusted(marks: Doubles, size: Doubles) -> NDArray[np.bool_]:
    """(T,) whether landmarks with these (T, 20) values can be those of a face that is `size` (T,) out of place."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(marks[:, 0]) <= PROFILE) & (size <= PLAUSIBLE))
