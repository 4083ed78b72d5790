"""Identities: tracks clustered by their identity vectors, at any number of tracks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SAME_PERSON = 0.5
"""Euclidean distance of dlib vectors: below it two tracks are one person (at 0.5: FAR 0.6 %, FRR 3.7 %)."""
NOT_THE_PERSON = 0.6
"""Distance from a reference above which a person is a different one (dlib's own threshold). Below it many strangers are
found: of 14 photos, half had one in a film of 12 other people, the nearest at 0.49."""
SHOWN_TWICE = 0.8
"""Two faces in one frame are one person (a mirror, a split screen) only below this share of the limit."""
BLOCK = 1024
"""Rows of the distances that are held at a time."""

Pairs = Iterable[tuple[int, int]]


def people(
    vectors: NDArray[np.floating], weights: NDArray[np.floating], same: float = SAME_PERSON, together: Pairs = ()
) -> NDArray[np.int32]:
    """Person of each track: (T,) int32, 0 the one with the most faces.

    `vectors` (T, D) identity vectors, `weights` (T,) faces in each track, `together` pairs of tracks that were seen in
    one frame. Average linkage on squared distances, cut at `same`: a track that has nobody within reach is a person of
    its own. Exact at any number of tracks, in memory that grows with it: reciprocal nearest neighbours are merged in
    rounds (Murtagh 1983), which gives what merging the nearest pair again and again does.
    """
    count = len(vectors)
    if count == 0:
        return np.zeros(0, np.int32)
    clusters = _Clusters(np.asarray(vectors, np.float64), same, together)
    while clusters.merge():
        pass
    return ranked(clusters.label, np.asarray(weights, np.float64))


def ranked(labels: NDArray[np.integer], weights: NDArray[np.floating]) -> NDArray[np.int32]:
    """The same people, renumbered (T,) int32 by their weight, the heaviest first; of equal ones the earliest."""
    _, first, found = np.unique(labels, return_index=True, return_inverse=True)
    mass = np.bincount(found, weights=weights)
    rank = np.empty(len(first), np.int32)
    rank[np.lexsort((first, -mass))] = np.arange(len(first))
    return np.asarray(rank[found], np.int32)


class _Clusters:
    """Clusters of tracks, and the rounds in which they merge."""

    def __init__(self, vectors: NDArray[np.float64], same: float, together: Pairs) -> None:
        self.label = np.arange(len(vectors))
        self._limit = same**2
        self._centre = vectors.copy()
        self._square = (vectors**2).sum(axis=1)  # mean squared length of the members
        self._size = np.ones(len(vectors))
        self._alive = np.arange(len(vectors))
        self._apart: dict[int, set[int]] = {}
        for a, b in together:
            if a != b and np.linalg.norm(vectors[a] - vectors[b]) >= SHOWN_TWICE * same:
                self._apart.setdefault(a, set()).add(b)
                self._apart.setdefault(b, set()).add(a)

    def merge(self) -> bool:
        """Merge all pairs that are each other's nearest neighbour; whether there was one within reach."""
        nearest, distance = self._neighbours()
        near = distance < self._limit  # others never come within reach again: linkage by the average is reducible
        if not near.any():
            return False
        places = np.arange(len(self._alive))
        pairs = np.flatnonzero(near & (nearest[nearest] == places) & (places < nearest))
        if not len(pairs):  # rounding broke a tie in two ways
            pairs = np.array([int(np.argmin(distance))])
        gone = np.zeros(len(self._alive), bool)
        into = np.arange(len(self.label))
        for place in pairs:
            keep, lose = sorted((int(self._alive[place]), int(self._alive[nearest[place]])))
            self._join(keep, lose)
            into[lose] = keep
            gone[np.searchsorted(self._alive, lose)] = True
        self.label = into[self.label]
        self._alive = self._alive[near & ~gone]
        return True

    def _join(self, keep: int, lose: int) -> None:
        share = self._size[lose] / (self._size[keep] + self._size[lose])
        self._centre[keep] += share * (self._centre[lose] - self._centre[keep])
        self._square[keep] += share * (self._square[lose] - self._square[keep])
        self._size[keep] += self._size[lose]
        for other in self._apart.pop(lose, ()):
            self._apart[other].discard(lose)
            if other != keep:
                self._apart[other].add(keep)
                self._apart.setdefault(keep, set()).add(other)

    def _neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Of each living cluster the place of its nearest neighbour, and their mean squared distance."""
        alive, count = self._alive, len(self._alive)
        centre, square = self._centre[alive], self._square[alive]
        nearest, distance = np.zeros(count, np.int64), np.full(count, np.inf)
        place = {int(cluster): i for i, cluster in enumerate(alive)} if self._apart else {}
        for begin in range(0, count, BLOCK):
            rows = slice(begin, min(begin + BLOCK, count))
            found = square[rows, None] + square[None] - 2 * centre[rows] @ centre.T
            found[np.arange(len(found)), np.arange(rows.start, rows.stop)] = np.inf
            for i in range(len(found)) if place else ():
                others = [place[o] for o in self._apart.get(int(alive[begin + i]), ()) if o in place]
                found[i, others] = np.inf
            nearest[rows] = found.argmin(axis=1)
            distance[rows] = found[np.arange(len(found)), nearest[rows]]
        return nearest, distance


def centre(vectors: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(D,) weighted mean of identity vectors (T, D)."""
    w = np.asarray(weights, np.float64)
    return np.asarray((np.asarray(vectors, np.float64) * w[:, None]).sum(0) / max(w.sum(), 1e-9))


def distances(vectors: NDArray[np.floating], looks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, L) Euclidean distances of vectors (T, D) from looks (L, D)."""
    return np.stack([np.linalg.norm(np.asarray(vectors, np.float64) - look, axis=1) for look in looks], axis=1)
