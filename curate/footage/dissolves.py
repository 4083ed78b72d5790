"""Dissolves and fades: frames in which two shots, or a shot and a flat picture, are blended.

Halfway through a dissolve the frame is the mean of the frames well before and well after it, though these two differ in
their outlines; a cut, a pan, a turning head are no such mean. Around that middle the share of the later frame must rise
evenly. Light that changes leaves the outlines where they are, unless the picture goes flat: that is a fade. The first
and the last blended frame are where the share leaves its level: the corner of a straight line.
"""

from __future__ import annotations

import math
import zlib
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.footage import moved
from curate.types import Floats, Image

SIZE = (32, 18)
"""Width and height of a trace, pixels."""
REACHES = (4, 6, 9, 13, 19, 27)
"""Frames from the middle of a transition to the frames it is judged by: half of the shortest to half of the longest."""
LONGEST = 1.25
"""Longest transition relative to the frames it is judged by: others reach into frames that were not looked at."""
LEAST = 10.0
"""Root mean square difference (0..255) of these two frames, at least."""
WIDE = 0.35
"""Share of the pixels that differ by a LEAST / 2, at least: what moves changes less of the picture."""
ALIKE = 0.85
"""Correlation of their outlines, at and above which only the light has changed."""
FLAT = 6.0
"""Standard deviation of a picture that shows nothing (black, white), 0..255."""
RESIDUAL = 0.22
"""Root mean square of what a blend of the two leaves unexplained, relative to their difference."""
MOVED = 0.92
"""Likeness from which the later picture is the earlier one, moved: a slow pan over soft shapes is a mean of its ends as
well. First frames of 33 clips of other scenes are alike by up to 0.87, pans over made-up soft shapes by more than 0.92.
"""
LIGHTER = 1.0
"""Difference in mean brightness, in the larger standard deviation of two pictures, beyond which neither is the other
one, moved; of 100 made-up slow pans none is marked with it, as without.
"""
SOFT = 2.0
"""Standard deviation in pixels of the blur under which shots that move are still blends of what their ends show."""
SOFT_RESIDUAL, SOFT_MOVED = 0.16, 0.82
"""Largest residual of these, and likeness from which the later picture is the earlier one, moved, as in a pan. Chosen
on 80 dissolves between pairs of four people with a moving camera, and 40 stretches without any."""
RISE, FALL = 0.05, 0.08
"""Largest rise of the share from one frame to the next beyond twice the even one, and largest fall."""
CLEAR = 0.2
"""Share of either picture from which a frame tells how fast the other one comes."""
EDGE = 0.04
"""Share of the other picture from which a frame counts as blended, as long as its corner is not known."""
EARLIER, LATER, LEVEL = 8, 2, 10
"""Frames before and after the supposed first blended frame in which the corner is sought; frames of level before it."""
DOUBT = 1.2
"""Of corners whose fits are no worse than this many times the best one, the outer one is taken."""
RAMP = 13
"""Frames of the transition that the line is fitted to, at most."""
LEAST_BEND = 0.015
"""Least share of one frame for a transition that continues across a cut."""
UNEVEN = 0.5
"""Root mean square deviation from level and line, relative to the share of one frame, above which the corner is not
taken: other things move too much."""


def trace(image: Image) -> Image:
    """The frame (H, W, 3) uint8 as (18, 32) uint8 grey, from which transitions are found."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def packed(traces: NDArray[np.uint8]) -> bytes:
    """Traces (N, 18, 32) in few bytes: changes from frame to frame, deflated."""
    return zlib.compress(np.diff(traces, axis=0, prepend=np.zeros_like(traces[:1])).tobytes(), 6)


def unpacked(data: bytes, count: int) -> NDArray[np.uint8]:
    """`count` traces from their bytes. Raises WorkError where these are damaged."""
    size = count * SIZE[0] * SIZE[1]
    try:
        raw = zlib.decompressobj().decompress(data, size + 1) if count else b""
    except zlib.error:
        raw = b""
    if len(raw) != size:
        raise WorkError(f"the traces of {count} frames cannot be read")
    changes = np.frombuffer(raw, np.uint8).reshape(count, SIZE[1], SIZE[0])
    return np.asarray(np.cumsum(changes, axis=0, dtype=np.uint8))


def blended(traces: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) whether each frame is part of a dissolve or a fade; `traces` (N, 18, 32) uint8 in order of presentation."""
    found = np.zeros(len(traces), bool)
    if not len(traces):
        return found
    sharp = np.asarray(traces, np.float32)
    soft = np.stack([cv2.GaussianBlur(picture, (0, 0), SOFT) for picture in sharp]).reshape(len(traces), -1)
    sharp = sharp.reshape(len(traces), -1)
    _mark(found, sharp, sharp, RESIDUAL)
    _mark(found, sharp, soft, SOFT_RESIDUAL, SOFT_MOVED)
    return _sharpened(sharp, found)


def _mark(found: NDArray[np.bool_], sharp: Floats, pictures: Floats, residual: float, limit: float = MOVED) -> None:
    """Mark in `found` the transitions seen in `pictures`, the `sharp` ones or softer ones.

    The likeness of their ends, see `moved`, is less than `limit`.
    """
    for reach in REACHES:
        for middle in _middles(pictures, reach, residual):
            begin, end = _found(pictures, middle, reach, residual)
            if not found[begin:end].all() and _differ(sharp[middle - reach], sharp[middle + reach], limit):
                found[begin:end] = True


def _found(pictures: Floats, middle: int, reach: int, residual: float) -> tuple[int, int]:
    """First frame of a transition around `middle` and the one after its last; the same where there is none."""
    share, explained = _shares(pictures[middle - reach : middle + reach + 1], residual)
    begin, end = _extent(share) if explained else (0, 0)
    if end - begin > LONGEST * len(share):
        return 0, 0
    return max(middle - reach + begin, 0), max(middle - reach + end, 0)


def _sharpened(pictures: Floats, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same transitions, their ends moved to the corners."""
    count, sharp = len(found), np.zeros(len(found), bool)
    edges = np.flatnonzero(np.diff(found.astype(np.int8), prepend=0, append=0))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        ramp = min(max((end - begin) // 2, REACHES[0]), RAMP)
        first = _first(pictures, begin, ramp)
        last = count - _first(pictures[::-1], count - end, ramp)
        sharp[first:last] = True
    return sharp


def _first(pictures: Floats, begin: int, ramp: int) -> int:
    """First blended frame of a transition that is supposed to begin at `begin` and to last `ramp` frames or more."""
    start, high = max(begin - EARLIER - LEVEL, 0), begin + ramp
    if high >= len(pictures):
        return begin
    steps = np.sqrt(np.square(np.diff(pictures[start : high + 1], axis=0)).mean(axis=1))
    usual = float(np.median(steps[begin - start :]))
    cuts = [start, *(start + 1 + np.flatnonzero(steps[: begin - start] > max(4 * usual, LEAST))).tolist()]
    low = cuts[-1]
    if low == begin and len(cuts) > 1:  # one of the two shots is cut while they are blended
        low = cuts[-2]
        change = pictures[min(begin + 2 * ramp, len(pictures) - 1)] - pictures[begin - 1]
        return _corner(_along(pictures[low:begin], change), low, range(begin - EARLIER, begin - 3), begin, LEAST_BEND)
    change = pictures[high] - pictures[begin]
    corners = range(begin - EARLIER, min(begin + LATER, high - 3) + 1)
    return _corner(_along(pictures[low : high + 1], change), low, corners, begin)


def _along(pictures: Floats, change: Floats) -> Floats:
    """Share (N,) of a change in each picture, up to a constant."""
    return np.asarray(pictures @ change / max(float(change @ change), 1e-9), np.float32)


def _corner(share: Floats, low: int, corners: range, begin: int, least: float = 0.0) -> int:
    """The frame after the corner at which the shares (N,) of the frames from `low` on begin to rise; else `begin`.

    `corners` are tried; the shares must bend by more than `least` a frame.
    """
    fits = [(*_bent(share, corner - low), corner) for corner in corners if corner > low]
    rising = [fit for fit in fits if fit[1] > least]
    error, rise, _ = min(rising, default=(np.inf, 0.0, begin))
    if error > UNEVEN * rise:
        return begin
    return min(corner for other, _, corner in rising if other <= DOUBT * error) + 1


def _bent(share: Floats, corner: int) -> tuple[float, float]:
    """Root mean square error and bend of the shares (N,) as two lines that meet at `corner`; the first is motion."""
    times = np.arange(len(share)) - float(corner)
    terms = np.stack([np.ones(len(share)), times, np.maximum(times, 0)], axis=1)
    fit = np.linalg.lstsq(terms, share.astype(np.float64), rcond=None)[0]
    return float(np.sqrt(np.square(terms @ fit - share).mean())), float(fit[2])


def _extent(share: Floats) -> tuple[int, int]:
    """First frame of a transition and the one after its last, by the line through the middle of the shares (N,)."""
    clear = np.flatnonzero((share > CLEAR) & (share < 1 - CLEAR))
    if len(clear) < 2:
        clear = np.array([len(share) // 2 - 1, len(share) // 2, len(share) // 2 + 1])
    slope, at = np.polyfit(clear, share[clear], 1)
    if slope <= 0:
        return int(clear[0]), int(clear[-1]) + 1
    return math.floor((EDGE - at) / slope), math.ceil((1 - EDGE - at) / slope) + 1


def _middles(pictures: Floats, reach: int, residual: float) -> NDArray[np.intp]:
    """Frames that are the mean of the frames `reach` before and after, which differ."""
    if len(pictures) <= 2 * reach:
        return np.zeros(0, np.intp)
    before, after = pictures[: -2 * reach], pictures[2 * reach :]
    size = np.sqrt(np.square(after - before).mean(axis=1))
    left = np.sqrt(np.square(pictures[reach:-reach] - (before + after) / 2).mean(axis=1))
    near = np.flatnonzero((size >= LEAST) & (left < residual * size))
    wide = (np.abs(after[near] - before[near]) > LEAST / 2).mean(axis=1) >= WIDE
    return np.asarray(near[wide] + reach)


def _shares(span: Floats, residual: float) -> tuple[Floats, bool]:
    """Share (N,) of the last picture in each, and whether blends explain them all, with an even rise."""
    change = span[-1] - span[0]
    power = float(change @ change)
    share = (span - span[0]) @ change / power
    left = np.sqrt(np.square(span - span[0] - share[:, None] * change).sum(axis=1) / power)
    inside = (share > EDGE) & (share < 1 - EDGE)
    steps = np.diff(share)
    even = bool(steps.max() < 2 / max(int(inside.sum()), 1) + RISE and steps.min() > -FALL)
    return share, bool(inside.sum() >= 3 and left.max() < 1.5 * residual and even)


def _differ(first: Floats, last: Floats, limit: float) -> bool:
    """Whether two pictures show something else, or one of them nothing."""
    if min(float(first.std()), float(last.std())) < FLAT:
        return True
    if _likeness(first, last) >= ALIKE:
        return False
    if abs(float(first.mean()) - float(last.mean())) > LIGHTER * max(float(first.std()), float(last.std())):
        return True
    return moved.likeness(first.reshape(SIZE[::-1]), last.reshape(SIZE[::-1])) < limit


def _likeness(first: Floats, last: Floats) -> float:
    a, b = (_outlines(p.reshape(SIZE[1], SIZE[0])) for p in (first, last))
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6))


def _outlines(picture: Floats) -> Floats:
    size = cv2.magnitude(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1))
    soft = cv2.GaussianBlur(size, (0, 0), 1.0)
    return np.asarray(soft - soft.mean(), np.float32)
