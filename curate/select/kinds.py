"""Kinds of faces, and how much each of them counts.

All faces are sorted into cells of like faces (similarity ALIKE to the cell's leader), found in one pass over all of
them, and the cells into kinds (similarity SAME_KIND). A kind counts as long as it is shown: its weight grows with the
square of its seconds, those of similar kinds counted by their similarity, and is 1 from FULL seconds on. A single
misread frame so weighs next to nothing, a rare face that lasts weighs fully, and a pose held for an hour weighs no
more than that. Nothing depends on how many faces there are, on their names or on their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.select.similarity import Kernel, leaders, net
from curate.types import Floats

SAME_KIND, ALIKE = 0.75, 0.95
"""Similarities from which on two faces are of one kind, and from which on one of them is redundant."""
FULL = 0.25
"""Seconds from which on a kind weighs fully; a photo counts as one second."""
MOST_CELLS = 12_000
"""Cells at most: of footage with more, a cell holds faces that are a little less alike."""
_BLOCK = 250


@dataclass(frozen=True, eq=False)
class Kinds:
    """Like faces and kinds of faces."""

    rows: NDArray[np.int64]
    """(K,) a face for each cell, its leader."""
    cell: NDArray[np.int32]
    """(N,) the cell of each face, 0..K - 1."""
    kind: NDArray[np.int64]
    """(K,) the kind of each cell, 0.. ."""
    weight: NDArray[np.float64]
    """(K,) how much each cell counts: the weights of a kind's cells add up to the kind's."""


def radius_of(width: float, similarity: float) -> float:
    """Distance at which the similarity falls to `similarity`."""
    return width * float(np.sqrt(-2 * np.log(similarity)))


def kinds_of(points: Floats, width: float, seconds: NDArray[np.float64], most: int | None = None) -> Kinds:
    """The kinds of the faces at `points` (N, D) in order of content, shown for `seconds` (N,), N >= 1."""
    rows, cell, _ = leaders(points, radius_of(width, ALIKE), most or MOST_CELLS)
    return weighed(points, rows, cell, width, seconds)


def without(kinds: Kinds, left: NDArray[np.bool_], points: Floats, width: float, seconds: NDArray[np.float64]) -> Kinds:
    """The kinds of the faces `left` (N,) of those of `kinds`; `points` and `seconds` are of these faces alone."""
    names, cell = np.unique(kinds.cell[left], return_inverse=True)
    place = np.cumsum(left) - 1
    rows = kinds.rows[names].copy()
    stays = left[rows]
    first = np.full(len(names), len(points), np.int64)
    np.minimum.at(first, cell, np.arange(len(cell)))
    rows = np.where(stays, place[rows], first)
    return weighed(points, rows, cell.astype(np.int32), width, seconds)


def weighed(
    points: Floats, rows: NDArray[np.int64], cell: NDArray[np.int32], width: float, seconds: NDArray[np.float64]
) -> Kinds:
    """Kinds of points (N, D), shown for `seconds` (N,): `rows` (K,) of the cells' leaders, and (N,) each one's cell."""
    first, kind = net(points[rows], radius_of(width, SAME_KIND), len(rows))
    shown = np.bincount(cell, seconds, len(rows)).astype(np.float64)
    whole = np.minimum(_support(points[rows], first, shown, width) / FULL, 1) ** 2
    own = np.minimum(shown, FULL)
    share = own / np.bincount(kind, own, len(first))[kind]
    return Kinds(rows, cell, kind, whole[kind] * share)


def _support(cells: Floats, first: NDArray[np.int64], shown: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """(F,) seconds for which faces like those of the cells `first` are shown, counted by their similarity."""
    kernel = Kernel(cells, width)
    parts = [kernel(cells[first[i : i + _BLOCK]]) @ shown for i in range(0, len(first), _BLOCK)]
    return np.concatenate(parts).astype(np.float64)
