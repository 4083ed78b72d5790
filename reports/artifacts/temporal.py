"""Measures over time, which need the frames before and after: arrays in, arrays out.

Every function takes one stretch of frames in order, without a cut or a gap; values that cannot be computed are NaN.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
BLOCK = 4096
"""Frames whose windows are in memory at a time."""


def second_difference(values: Doubles) -> Doubles:
    """(T,) distance of each of (T,) or (T, C) values from the mean of its two neighbours; NaN at the ends."""
    flat = values.reshape(len(values), -1)
    out = np.full(len(flat), np.nan)
    if len(flat) >= 3:
        out[1:-1] = np.linalg.norm(flat[1:-1] - (flat[:-2] + flat[2:]) / 2, axis=1)
    return out


def hold_last(values: Doubles) -> Doubles:
    """(T,) values of which every other one is measured: a NaN takes the value before it."""
    out = values.astype(np.float64)
    out[1:] = np.where(np.isfinite(values[1:]), values[1:], values[:-1])
    return out


def running_median(values: Doubles, width: int) -> Doubles:
    """(T,) running median over `width` frames, ignoring NaN; NaN where fewer than half are known."""
    half = width // 2
    padded = np.pad(values.astype(np.float64), half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    known = np.isfinite(windows).sum(1)
    out = np.full(len(values), np.nan)
    enough = (known >= max(width // 2, 1)) & np.isfinite(values)
    if enough.any():
        out[enough] = np.nanmedian(windows[enough], axis=1)
    return out


def usual(values: Doubles, width: int) -> Doubles:
    """(T,) running median over `width` frames, an odd number, of the values that are known; NaN where none is."""
    padded = np.pad(values.astype(np.float64), width // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    out = np.full(len(values), np.nan)
    for first in range(0, len(values), BLOCK):  # a median copies its windows
        own = windows[first : first + BLOCK]
        some = np.isfinite(own).any(1)
        if some.any():
            out[first : first + BLOCK][some] = np.nanmedian(own[some], axis=1)
    return out


def smoothed_speed(move: Doubles) -> Doubles:
    """(T,) length of (T, 2) movements averaged over five frames, so that jitter cancels out. NaN counts as 0."""
    known = np.nan_to_num(move)
    padded = np.pad(known, ((2, 2), (0, 0)), mode="edge")
    means = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0).mean(-1)
    return np.asarray(np.linalg.norm(means, axis=1))


def running_max(values: Doubles, reach: int = 3) -> Doubles:
    """(T,) maximum of the values within `reach` frames."""
    padded = np.pad(values, reach, mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(-1))


def sustained(values: Doubles) -> Doubles:
    """(T,) second difference that lasts: its running median over 5 frames. A single step affects two frames only."""
    return running_median(second_difference(values), 5)


def jumps(values: Doubles, least: float, times: float = 4.0) -> Doubles:
    """(T,) distance of (T, C) values from their usual level, counting jumps only.

    A change from one frame to the next is a jump if it is longer than `least` and than `times` the usual one of the 20
    frames around; slow changes are ignored. The usual level is the median; no frame is farther from it than its values
    are from their median. NaN counts as no change.
    """
    if len(values) < 3:
        return np.full(len(values), np.nan)
    known = np.isfinite(values).all(1)
    if not known.any():
        return np.full(len(values), np.nan)
    values = values[np.maximum.accumulate(np.where(known, np.arange(len(values)), known.argmax()))]
    away = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    change = np.diff(values, axis=0)
    size = np.linalg.norm(change, axis=1)
    usual = running_median(size, 21)
    usual = np.where(np.isfinite(usual), usual, 0)
    change[size <= np.maximum(least, times * usual)] = 0
    level = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(change, axis=0)])
    return np.asarray(np.minimum(np.linalg.norm(level - np.median(level, axis=0), axis=1), away))


def cell_jumps(cells: Doubles, least: float, times: float) -> Doubles:
    """(T, K, C) part of (T, K, C) colours that came about by jumps, cell by cell, minus its median over the frames.

    A change is a jump if it is longer than `least` and than `times` the cell's usual one.
    """
    change = np.diff(cells, axis=0)
    size = np.linalg.norm(change, axis=2)
    usual = np.median(size, axis=0) if len(size) else np.zeros(cells.shape[1])
    change = np.where((size > np.maximum(least, times * usual))[..., None], change, 0)
    level = np.concatenate([np.zeros((1, *cells.shape[1:])), np.cumsum(change, axis=0)])
    return np.asarray(level - np.median(level, axis=0))


def popped(cells: Doubles, weight: Doubles, longest: int = 4, floor: float = 1.0) -> Doubles:
    """(T,) distance of a frame, or of up to `longest` in a row, from both neighbours although these are alike.

    `cells` (T, K, C) colours, `weight` (T, K) 0 or 1. Mean distance over cells, beyond that of the neighbours and
    twice the usual change from frame to frame.
    """
    frames = len(cells)
    out = np.zeros(frames)
    if frames < 3:
        return np.full(frames, np.nan)

    def apart(a: int, b: int) -> float:
        both = weight[a] * weight[b]
        total = float(both.sum())
        return float((np.linalg.norm(cells[a] - cells[b], axis=1) * both).sum() / total) if total >= 8 else np.nan

    step = np.array([apart(t, t + 1) for t in range(frames - 1)])
    usual = running_median(step, 21)
    usual = np.where(np.isfinite(usual), usual, 0) + floor
    for start in range(1, frames - 1):
        if not step[start - 1] > 2 * usual[start - 1]:
            continue
        for length in range(1, min(longest, frames - 1 - start) + 1):
            end = start + length
            if not step[end - 1] > 2 * usual[end - 1]:
                continue
            inside = range(start, end)
            away = min(min(apart(start - 1, i), apart(i, end)) for i in inside)
            score = away - apart(start - 1, end) - 2 * usual[start - 1]
            if np.isfinite(score):
                out[start:end] = np.maximum(out[start:end], score)
    return out


def thrown(place: Doubles, floor: float, longest: int = 4, abrupt: float = 3.0) -> Doubles:
    """(T,) distance of a place from where it is before and after, for one frame or up to `longest` in a row.

    `place` (T, 2), NaN where not known. Beyond twice `floor` and what the places before and after are apart. It counts
    if it came and went within a frame each: these two steps are longer than `abrupt` times any other around, for a
    nodding head gathers speed.
    """
    out = np.zeros(len(place))
    step = np.linalg.norm(np.diff(place, axis=0), axis=1)
    for start in range(1, len(place) - 1):
        if not step[start - 1] > 2 * floor:
            continue
        for end in range(start + 1, min(start + longest, len(place) - 1) + 1):
            others = step[max(start - 1 - longest, 0) : end + longest].copy()
            others[[min(start - 1, longest), min(start - 1, longest) + end - start]] = 0
            if not min(step[start - 1], step[end - 1]) > abrupt * np.nanmax(others):
                continue
            before, inside, after = place[start - 1], place[start:end], place[end]
            away = min(np.linalg.norm(inside - side, axis=1).min() for side in (before, after))
            out[start:end] = np.fmax(out[start:end], away - np.linalg.norm(after - before) - 2 * floor)
    return out


LAG_WINDOW, LAG_SLOW, LAG_NEAR, LAG_ACTIVE, LAG_REACH = 0.8, 0.7, 0.3, 0.6, 0.2
"""Seconds: the window in which a lag is searched, the window above which movement counts as slow and is removed, the
distance of a frame from a window's centre, the window in which there must be enough movement, and the longest lag."""
LAG_GAIN = (0.25, 0.55)
"""A lag counts from where shifting removes the first fraction of the difference, and fully from the second on."""

LAG_ALIKE = 0.7
"""A mouth that moves less than this fraction of the reference's movement is held, not late."""


def lag(output: Doubles, reference: Doubles, fps: float, least: float) -> Doubles:
    """(T,) lag in frames, with fractions, between the movements of `output` (T, K) and `reference` (T, K), in size.

    In each window the shift that leaves the least squared difference, refined by a parabola, times how much of the
    difference it takes away; a frame has the most that a window around it shows. NaN where the reference changes less
    than `least` in a tenth of a second (root mean square): the lag of what stands still cannot be seen.
    """
    frames = len(output)
    half, reach, step = max(round(LAG_WINDOW / 2 * fps), 4), max(round(LAG_REACH * fps), 2), max(round(0.1 * fps), 1)
    if frames <= 2 * half + 1:
        return np.full(frames, np.nan)
    change, own = np.zeros((2, frames))
    change[step:] = ((reference[step:] - reference[:-step]) ** 2).sum(1)
    own[step:] = ((output[step:] - output[:-step]) ** 2).sum(1)
    slow = 2 * max(round(LAG_SLOW / 2 * fps), 3) + 1
    mine, theirs = output - _box(output, slow), reference - _box(reference, slow)
    here = np.arange(frames)
    left = np.stack([
        _box(((mine - theirs[np.clip(here - shift, 0, frames - 1)]) ** 2).sum(1), 2 * half + 1)
        for shift in range(-reach, reach + 1)
    ])  # fmt: skip
    best = left.argmin(0)
    inner = np.clip(best, 1, 2 * reach - 1)
    before, least_left, after = left[inner - 1, here], left[inner, here], left[inner + 1, here]
    part = np.clip(0.5 * (before - after) / np.maximum(before - 2 * least_left + after, 1e-12), -0.5, 0.5)
    gain = 1 - least_left / np.maximum(left[reach], 1e-9)
    sure = np.clip((gain - LAG_GAIN[0]) / (LAG_GAIN[1] - LAG_GAIN[0]), 0, 1) * (best == inner)
    due, done = (np.sqrt(_box(c, 2 * half + 1).clip(0)) for c in (change, own))
    moves = (due >= least) & (done >= LAG_ALIKE * due)
    found = running_max(np.abs(inner - reach + part) * sure * moves, round(LAG_NEAR * fps))
    active = np.sqrt(_box(change, 2 * max(round(LAG_ACTIVE / 2 * fps), 1) + 1).clip(0)) >= least
    return np.asarray(np.where(active, found, np.nan))


def _box(values: Doubles, width: int) -> Doubles:
    """Running mean of (T,) or (T, K) over an odd number of frames; the ends are repeated."""
    flat = values.reshape(len(values), -1)
    padded = np.pad(flat, ((width // 2, width // 2), (0, 0)), mode="edge")
    sums = np.cumsum(np.vstack([np.zeros((1, flat.shape[1])), padded]), axis=0)
    return np.asarray(((sums[width:] - sums[:-width]) / width).clip(None if values.ndim > 1 else 0)).reshape(
        values.shape
    )


def hole(cells: Doubles, apart: Doubles, weight: Doubles, usual: float) -> tuple[Doubles, NDArray[np.int64]]:
    """(T,) contrast in per cent of a patch of 2 x 2 cells with the rest of the face, and (T,) its first cell.

    100 is a patch as unlike the face as 25 CIELAB, or as like the reference as no other part. `cells` (T, G, G, C) the
    output, less the reference if there is one; `apart` (T, G, G) mean distance of their pixels (NaN without); `weight`
    (T, G, G). A patch counts as unswapped only where it usually differs by `usual`.
    """
    known = weight >= 0.9
    values = np.where(known[..., None], cells, np.nan)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a cell that is never face
        away = values - np.nanmedian(values, axis=0)
        away -= np.nanmedian(away, axis=(1, 2), keepdims=True)
        strange = np.linalg.norm(away, axis=-1) / 0.25
        norm = np.nanmedian(np.where(known, apart, np.nan), axis=0)
        rest = np.where(known & (norm >= usual), apart / np.maximum(norm, 1e-6), np.nan)
        whole = np.nanmedian(rest, axis=(1, 2), keepdims=True)
        missing = 100 * np.clip(np.minimum(whole, 1) - rest, 0, 1)
    score = np.maximum(_blocks(np.nan_to_num(strange)), _blocks(np.nan_to_num(missing)))
    flat = score.reshape(len(score), -1)
    return flat.max(1), flat.argmax(1)


def _blocks(values: Doubles) -> Doubles:
    """(T, G-1, G-1) means of all 2 x 2 neighbouring cells."""
    return (values[:, :-1, :-1] + values[:, 1:, :-1] + values[:, :-1, 1:] + values[:, 1:, 1:]) / 4
