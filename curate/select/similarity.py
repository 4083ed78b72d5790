"""Distances between points of the diversity space: the similarity, and the different kinds of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

Doubles = NDArray[np.float64]

_SNAP = 1e-5
"""Squared distances below this are rounding, and are taken as 0."""
_BATCH = 128
_PIECE, _CELLS, _GROWTH, _LEAST = 20_000, 1_000_000, 1.15, 0.6
"""Of `leaders`: points and distances at a time, the factor by which a net that is too fine is widened at most, and the
share of the largest number of cells that should be left: in many dimensions a little wider is a lot fewer."""


class Kernel:
    """exp(-d^2 / (2 width^2)) to fixed points (B, D) float32."""

    def __init__(self, points: Floats, width: float) -> None:
        # About the centre squared lengths are small, and so is the rounding of their differences.
        self._centre = points.mean(0) if len(points) else np.float32(0)
        centred = (points - self._centre).astype(np.float32)
        self._scale = np.float32(-0.5 / width**2)
        lengths = np.einsum("ij,ij->i", centred, centred) * self._scale
        rows = [centred.T * (-2 * self._scale), lengths[None], np.ones((1, len(points)), np.float32)]
        self._turned = np.ascontiguousarray(np.vstack(rows), np.float32)

    def log(self, points: Floats, offset: Floats | float = 0.0) -> Floats:
        """(A, B) float32 logarithms for points (A, D), plus `offset` (A,); above 0 by rounding at most."""
        centred = (points - self._centre).astype(np.float32)
        own = (np.einsum("ij,ij->i", centred, centred) - np.float32(_SNAP)) * self._scale + offset
        ones = np.ones(len(centred), np.float32)
        return np.asarray(np.column_stack([centred, ones, own]).astype(np.float32) @ self._turned)

    def __call__(self, points: Floats) -> Floats:
        """(A, B) float32 in 0..1 for points (A, D)."""
        found = self.log(points)
        np.minimum(found, 0, out=found)
        return np.asarray(np.exp(found, out=found))


def net(points: NDArray[np.floating], radius: float, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (K,) of points that are `radius` apart or more, and for each point (N,) the first of them that is nearer.

    Taken in the order of the points (N, D): a point that is near to none so far is the next; repeating points changes
    nothing. After about `most` of them the rest of the points get -1. Time N K D.
    """
    centred = (points - points.mean(0)).astype(np.float32) if len(points) else np.zeros((0, 1), np.float32)
    cell = np.full(len(points), -1, np.int64)
    left = np.arange(len(points))
    members: list[int] = []
    while len(left) and len(members) < most:
        first = left[:_BATCH]
        near = squared(centred[first], centred[first]) < radius**2
        free = np.ones(len(first), bool)
        new = []
        for i in range(len(first)):
            if free[i]:
                new.append(i)
                free &= ~near[i]
        covers = squared(centred[left], centred[first[new]]) < radius**2
        covers[new, np.arange(len(new))] = True
        inside = covers.any(1)
        cell[left[inside]] = len(members) + covers[inside].argmax(1)
        members.extend(first[new].tolist())
        left = left[~inside]
    return np.array(members, np.int64), cell


def leaders(
    points: Floats, radius: float, most: int, widen: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int32], float]:
    """Rows (K,) of points that are apart, for each point (N,) one of them that is near, and how far apart they are.

    A net (see `net`) of `radius` over all points (N, D) float32, in one pass in their order. Where it takes more than
    `most`, it is widened until it does not, and the cells of points that are left out go to the cells near them; a net
    of fewer points is unchanged by that. Without `widen` the answer is then empty, and they are infinitely far apart.
    Time N K D.
    """
    rows, cell = np.zeros(0, np.int64), np.zeros(len(points), np.int64)
    for start in range(0, len(points), _PIECE):
        piece = np.arange(start, min(start + _PIECE, len(points)))
        if len(rows):
            cell[piece], apart = nearest(points[piece], points[rows])
            piece = piece[apart >= radius**2]
        new, own = net(points[piece], radius, len(piece))
        cell[piece] = own + len(rows)
        rows = np.concatenate([rows, piece[new]])
        if len(rows) > most and not widen:
            return rows[:0], cell[:0].astype(np.int32), np.inf
        if len(rows) > most:
            radius, stays, joins = _widened(points[rows], radius, most)
            rows, cell[: start + _PIECE] = rows[stays], joins[cell[: start + _PIECE]]
    return rows, cell.astype(np.int32), radius


def _widened(points: Floats, radius: float, most: int) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    """A larger radius at which a net over the points has at most `most` cells, and that net."""
    growth = _GROWTH
    while True:
        stays, joins = net(points, radius * growth, len(points))
        if len(stays) < _LEAST * most and growth > 1.01:
            growth = growth**0.5
        elif len(stays) <= most:
            return radius * growth, stays, joins
        else:
            radius *= growth


def nearest(points: Floats, fixed: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(A,) which of the fixed points (B, D) is nearest to each point (A, D), and the squared distance to it."""
    centre = fixed.mean(0)
    turned = np.ascontiguousarray(np.vstack([-2 * (fixed - centre).T, np.square(fixed - centre).sum(1)]))
    index, found = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    step = max(1, _CELLS // len(fixed))
    for start in range(0, len(points), step):
        block = points[start : start + step] - centre
        apart = np.column_stack([block, np.ones(len(block), np.float32)]) @ turned
        at = apart.argmin(1)
        index[start : start + step] = at
        found[start : start + step] = apart[np.arange(len(at)), at] + np.square(block).sum(1)
    return index, np.maximum(found, 0)


def squared(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """(A, B) squared distances of points (A, D) and (B, D)."""
    found = a @ (-2 * b.T)
    found += np.square(a).sum(1)[:, None]
    found += np.square(b).sum(1)
    return np.asarray(np.maximum(found, 0, out=found))
