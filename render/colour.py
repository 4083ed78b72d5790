"""Colour of the swapped face brought to the footage's by means and spreads in CIELAB (Reinhard et al. 2001).

Means and spreads are taken under the mask. What is smoothed over the shot is the correction, not the statistics: the
network already follows the footage's light from frame to frame, and that must not be smoothed away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from curate.types import Floats

GAIN = (0.7, 1.4)
"""A spread is changed by no more: a blurred output would turn into noise, a hard one into wax."""
SIGMA = 6.0
"""Frames, of the Gaussian over the shot."""
RADIUS = 12
"""Frames looked at before and after."""
T = TypeVar("T")


@dataclass(frozen=True)
class Statistics:
    """Of a face in CIELAB (D65; L 0..100)."""

    mean: Floats
    """(3,)"""
    spread: Floats
    """(3,) standard deviations."""


@dataclass(frozen=True)
class Correction:
    """What takes one face's statistics to another's."""

    centre: Floats
    """(3,) mean about which the spread is changed: the swapped face's own, never smoothed."""
    shift: Floats
    """(3,) added to the mean."""
    gain: Floats
    """(3,) factor of the spread."""


def to_lab(rgb: Floats) -> Floats:
    """(H, W, 3) sRGB in 0..1 to CIELAB, float32."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), np.float32)


def from_lab(lab: Floats) -> Floats:
    """The inverse of `to_lab`, clipped to 0..1."""
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1), np.float32)


def statistics(rgb: Floats, weights: Floats) -> Statistics | None:
    """Of (H, W, 3) sRGB in 0..1 under weights (H, W); None where the weights hold less than 16 pixels."""
    total = float(weights.sum())
    if total < 16:
        return None
    lab, w = to_lab(rgb).reshape(-1, 3).astype(np.float64), weights.reshape(-1, 1).astype(np.float64)
    mean = (lab * w).sum(0) / total
    spread = np.sqrt(((lab - mean) ** 2 * w).sum(0) / total)
    return Statistics(mean.astype(np.float32), spread.astype(np.float32))


def correction(swapped: Floats, footage: Floats, mask: Floats) -> Correction | None:
    """From the swapped crop to the footage's crop, both (S, S, 3) in 0..1, under the mask (S, S)."""
    mine, theirs = statistics(swapped, mask), statistics(footage, mask)
    if mine is None or theirs is None:
        return None
    gain = np.clip((theirs.spread + 0.5) / (mine.spread + 0.5), *GAIN)
    return Correction(mine.mean, theirs.mean - mine.mean, gain.astype(np.float32))


def apply(rgb: Floats, change: Correction | None) -> Floats:
    """The crop (S, S, 3) in 0..1 with its colours corrected; None changes nothing."""
    if change is None:
        return rgb
    lab = to_lab(rgb)
    return from_lab((lab - change.centre) * change.gain + change.centre + change.shift)


def steady(
    items: Iterable[T], shot: Callable[[T], int | None], change: Callable[[T], Correction | None]
) -> Iterator[tuple[T, Correction | None]]:
    """Every item with its correction smoothed over the neighbours of its own shot, RADIUS items to each side.

    `shot` and `change` read an item; an item without a correction (no face) keeps None and counts for nobody. The
    result depends on the items alone, not on how they are batched. Holds 2 * RADIUS + 1 items at a time.
    """
    window: deque[T] = deque()
    centre = 0
    for item in items:
        window.append(item)
        if len(window) - centre > RADIUS:
            yield window[centre], _smoothed(window, centre, shot, change)
            centre += 1
        if centre > RADIUS:
            window.popleft()
            centre -= 1
    for place in range(centre, len(window)):
        yield window[place], _smoothed(window, place, shot, change)


def _smoothed(
    window: deque[T], centre: int, shot: Callable[[T], int | None], change: Callable[[T], Correction | None]
) -> Correction | None:
    own = change(window[centre])
    if own is None:
        return None
    shifts, gains, weights = [], [], []
    for place in range(max(0, centre - RADIUS), min(len(window), centre + RADIUS + 1)):
        other = change(window[place])
        if other is None or shot(window[place]) != shot(window[centre]):
            continue
        shifts.append(other.shift)
        gains.append(np.log(other.gain))
        weights.append(np.exp(-0.5 * ((place - centre) / SIGMA) ** 2))
    shift, gain = np.average(shifts, 0, weights), np.exp(np.average(gains, 0, weights))
    return Correction(own.centre, shift.astype(np.float32), gain.astype(np.float32))
