"""Distance between chosen faces: no two that are alike or neighbours in time, while anything else is left."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.types import Floats

GAP = 0.1
"""Seconds by which two chosen faces of one clip are apart, or more."""
_CLIPS_APART = 1e7
_BLOCK = 512


def moments(table: pd.DataFrame) -> NDArray[np.float64] | None:
    """(N,) seconds on one axis, clips far from each other; None where the table does not say. NaN is near nothing."""
    if "time" not in table or "clip" not in table:
        return None
    clip, _ = pd.factorize(table["clip"])
    return np.asarray(clip * _CLIPS_APART + table["time"].to_numpy(np.float64, na_value=np.nan), np.float64)


class Apart:
    """Chosen faces, and which others are too near to one of them."""

    def __init__(self, points: Floats, moment: NDArray[np.float64] | None, radius: float) -> None:
        self._points, self._moment, self._radius = points, moment, radius
        self._centre = points.mean(0) if len(points) else np.float32(0)
        self._chosen = np.zeros((64, points.shape[1]), np.float32)
        self._lengths = np.zeros(64, np.float32)
        self._at: list[int] = []
        self._taken: set[int] = set()

    def add(self, row: int) -> None:
        """Count a face as chosen."""
        if len(self._at) == len(self._chosen):
            self._chosen = np.concatenate([self._chosen, np.zeros_like(self._chosen)])
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        point = self._points[row] - self._centre
        self._chosen[len(self._at)], self._lengths[len(self._at)] = point, point @ point
        self._at.append(row)
        if self._moment is not None and np.isfinite(self._moment[row]):
            self._taken.add(int(self._moment[row] // GAP))

    def near(self, row: int) -> bool:
        """Whether a face is alike or within GAP seconds of a chosen one."""
        return bool(self.near_many(np.array([row]))[0])

    def near_many(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B,) the same for some faces."""
        if not self._at:
            return np.zeros(len(rows), bool)
        count, block = len(self._at), self._points[rows] - self._centre
        apart = block @ self._chosen[:count].T * -2
        apart += np.square(block).sum(1)[:, None] + self._lengths[:count]
        soon = np.array([self._soon(int(row)) for row in rows])
        return np.asarray(np.any(apart < self._radius**2, axis=1) | soon, np.bool_)

    def _soon(self, row: int) -> bool:
        if self._moment is None or not np.isfinite(self._moment[row]):
            return False
        own = float(self._moment[row])
        step = int(own // GAP)
        if step in self._taken:
            return True
        if step - 1 not in self._taken and step + 1 not in self._taken:
            return False
        return bool((np.abs(self._moment[self._at] - own) < GAP - 1e-6).any())


def in_turn(
    rows: NDArray[np.int64], chosen: NDArray[np.int64], cell: NDArray[np.integer], worth: Floats
) -> list[NDArray[np.int64]]:
    """`rows` in the rounds in which they fill a selection: in each, every cell of like faces gives its worthiest face.

    cell (N,): of each face. Cells of which fewer are chosen give theirs in earlier rounds, so that a pose that is held
    for hours gets no more places than one that is seen for a second.
    """
    if not len(rows):
        return []
    rows = rows[np.lexsort((-worth[rows], cell[rows]))]
    own = cell[rows]
    rank = np.arange(len(rows)) - np.searchsorted(own, own)
    turn = np.bincount(cell[chosen], minlength=int(cell.max(initial=0)) + 1)[own] + rank
    order = np.lexsort((-worth[rows], turn))
    return np.split(rows[order], np.flatnonzero(np.diff(turn[order])) + 1)


def fill(apart: Apart, order: NDArray[np.int64], length: int) -> tuple[list[int], list[int]]:
    """At most `length` of the rows `order`, the first first: those apart from all chosen faces, then the others."""
    free: list[int] = []
    near: list[int] = []
    for start in range(0, len(order), _BLOCK):
        if len(free) >= length:
            break
        block = order[start : start + _BLOCK]
        blocked = apart.near_many(block)
        near += block[blocked].tolist()
        for row in block[~blocked].tolist():
            if len(free) < length and not apart.near(row):
                apart.add(row)
                free.append(row)
            else:
                near.append(row)
    return free, near[: length - len(free)]
