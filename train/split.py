"""Held-out split: blocks of time to evaluate on, a gap around them, and how often each training face is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 5
"""Held-out faces in one block of time, about."""


@dataclass(frozen=True)
class Split:
    """Indices of training and held-out faces; faces in the gap between them are in neither."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    guard: float
    """Gap between them, seconds."""


def split(clips: Sequence[str], times: NDArray[np.floating], share: float, guard: float) -> Split:
    """Split into training faces and held-out blocks of consecutive faces, with a gap between them.

    Face i was seen in clips[i] at times[i] seconds; faces are in order of clip and time. About share * N of them are
    held out, in evenly spread blocks of about 5. Faces of the same clip within `guard` seconds of one of them are in
    neither part, because neighbouring frames are nearly identical. If that would leave less than half of the faces for
    training, the guard is halved until it does not.
    """
    count = len(times)
    held = max(1, round(share * count))
    blocks = max(1, round(held / BLOCK))
    taken = np.zeros(count, bool)
    for block in range(blocks):
        size = held * (block + 1) // blocks - held * block // blocks
        first = round((block + 0.5) * count / blocks - size / 2)
        taken[first : first + size] = True
    names = np.asarray(clips)
    near = _distance(names, np.asarray(times, float), taken)
    while ((near > guard) & ~taken).sum() * 2 < count and guard > 0:
        guard = guard / 2 if guard > 1e-3 else 0.0
    train = ~taken & (near > guard) if guard else ~taken
    return Split(np.flatnonzero(train), np.flatnonzero(taken), guard)


def chance(clusters: NDArray[np.generic], sampling: str) -> NDArray[np.float64]:
    """(N,) probability of drawing each face: every cluster, or with "uniform" every face, is equally likely."""
    if sampling == "uniform":
        return np.full(len(clusters), 1 / len(clusters))
    _, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return np.asarray(1 / (sizes[inverse] * len(sizes)), np.float64)


def _distance(clips: NDArray[np.str_], times: NDArray[np.float64], taken: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) seconds to the nearest held-out face of the same clip; infinite if the clip has none."""
    near = np.full(len(times), np.inf)
    for clip in np.unique(clips[taken]):
        own = clips == clip
        marks = np.sort(times[own & taken])
        after = np.searchsorted(marks, times[own]).clip(0, len(marks) - 1)
        before = (after - 1).clip(0)
        near[own] = np.minimum(np.abs(times[own] - marks[after]), np.abs(times[own] - marks[before]))
    return near
