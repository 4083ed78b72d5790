"""Measures that need the frames before and after: from figures per frame to measures per frame.

Every function takes one stretch of frames without a cut or a gap, in order, and is NaN where it cannot tell.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def bend(values: Doubles) -> Doubles:
    """(T,) how far each of (T,) or (T, C) values is from the mean of its neighbours, as a length; NaN at ends."""
    flat = values.reshape(len(values), -1)
    out = np.full(len(flat), np.nan)
    if len(flat) >= 3:
        out[1:-1] = np.linalg.norm(flat[1:-1] - (flat[:-2] + flat[2:]) / 2, axis=1)
    return out


def held(values: Doubles) -> Doubles:
    """(T,) values of which every other one is measured: NaN after a known one becomes that one."""
    out = values.astype(np.float64)
    out[1:] = np.where(np.isfinite(values[1:]), values[1:], values[:-1])
    return out


def middle(values: Doubles, width: int) -> Doubles:
    """(T,) running median over `width` frames; NaNs are passed over; NaN where fewer than half are known."""
    half = width // 2
    padded = np.pad(values.astype(np.float64), half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    known = np.isfinite(windows).sum(1)
    out = np.full(len(values), np.nan)
    enough = (known >= max(width // 2, 1)) & np.isfinite(values)
    if enough.any():
        out[enough] = np.nanmedian(windows[enough], axis=1)
    return out


def sustained(values: Doubles) -> Doubles:
    """(T,) the bend that lasts: running median over 5 frames. A single step bends two frames and is no flicker."""
    return middle(bend(values), 5)


def jumps(values: Doubles, least: float, times: float = 4.0) -> Doubles:
    """(T,) how far (T, C) values are from their usual level by jumps alone.

    A change from one frame to the next is a jump if it is longer than `least` and than `times` the usual one of the 20
    frames around; what changes slowly is followed. The usual level is the one at which most frames are; no frame is
    farther from it than its values are from theirs. NaNs are taken for no change.
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
    usual = middle(size, 21)
    usual = np.where(np.isfinite(usual), usual, 0)
    change[size <= np.maximum(least, times * usual)] = 0
    level = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(change, axis=0)])
    return np.asarray(np.minimum(np.linalg.norm(level - np.median(level, axis=0), axis=1), away))


def cell_jumps(cells: Doubles, least: float, times: float) -> Doubles:
    """(T, K, C) the part of (T, K, C) colours that came by jumps, cell by cell, less its median over the frames.

    A change is a jump if it is longer than `least` and than `times` the cell's usual one.
    """
    change = np.diff(cells, axis=0)
    size = np.linalg.norm(change, axis=2)
    usual = np.median(size, axis=0) if len(size) else np.zeros(cells.shape[1])
    change = np.where((size > np.maximum(least, times * usual))[..., None], change, 0)
    level = np.concatenate([np.zeros((1, *cells.shape[1:])), np.cumsum(change, axis=0)])
    return np.asarray(level - np.median(level, axis=0))


def popped(cells: Doubles, weight: Doubles, longest: int = 4, floor: float = 1.0) -> Doubles:
    """(T,) how far a frame, or up to `longest` in a row, is from both neighbours although these are alike.

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
    usual = middle(step, 21)
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


def lag(output: Doubles, reference: Doubles, fps: float, least: float) -> tuple[Doubles, Doubles]:
    """(T,) frames by which `output` (T, K) comes after `reference` (T, K), and how surely (0..1), by cross-correlation.

    Both are freed of what is slower than half a second; a window of a second is looked at. NaN where the reference
    hardly moves (root mean square under `least`). Negative: the output comes first.
    """
    frames = len(output)
    reach, half = max(round(0.27 * fps), 2), max(round(0.4 * fps), 4)
    if frames <= 2 * half:
        return np.full(frames, np.nan), np.full(frames, np.nan)
    a, b = _quick(output, half), _quick(reference, half)
    window = np.ones(2 * half + 1)
    energy_a = _summed((a**2).mean(1), window)
    energy_b = _summed((b**2).mean(1), window)
    square = (b**2).mean(1)[:, None]
    lags = np.arange(-reach, reach + 1)
    score = np.full((len(lags), frames), -1.0)
    for row, shift in enumerate(range(-reach, reach + 1)):
        moved, energy = _moved(b, shift), _summed(_moved(square, shift)[:, 0], window)
        product = _summed((a * moved).mean(1), window)
        score[row] = product / np.sqrt(np.maximum(energy_a * energy, 1e-6))
    best = score.argmax(0)
    now = score[reach]
    sure = np.clip((score.max(0) - np.maximum(now, 0)) / 0.04, 0, 1) * np.clip((score.max(0) - 0.3) / 0.2, 0, 1)
    active = np.sqrt(energy_b / len(window)) >= least
    edge = np.abs(lags[best]) == reach
    found = np.where(active & ~edge, lags[best], np.where(active, 0, np.nan)).astype(np.float64)
    return found, np.where(active, np.where(edge, 0, sure), np.nan)


def _summed(values: Doubles, window: Doubles) -> Doubles:
    return np.asarray(np.convolve(values, window, mode="same"), np.float64)


def _quick(values: Doubles, half: int) -> Doubles:
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    box = np.ones(2 * half + 1) / (2 * half + 1)
    slow = np.apply_along_axis(lambda v: np.convolve(v, box, "valid"), 0, padded)
    return np.asarray(values - slow)


def _moved(values: Doubles, shift: int) -> Doubles:
    """values[t - shift] at t, 0 outside."""
    out = np.zeros_like(values)
    if shift >= 0:
        out[shift:] = values[: len(values) - shift]
    else:
        out[:shift] = values[-shift:]
    return out


def hole(cells: Doubles, apart: Doubles, weight: Doubles, usual: float) -> tuple[Doubles, NDArray[np.int64]]:
    """(T,) per cent by which a patch of 2 x 2 cells stands out from the rest of the face, and (T,) its first cell.

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
    """(T, G-1, G-1) mean of every 2 x 2 cells."""
    return (values[:, :-1, :-1] + values[:, 1:, :-1] + values[:, :-1, 1:] + values[:, 1:, 1:]) / 4
