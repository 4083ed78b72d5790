"""The best of like faces takes the place of a choice, where that costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curate.select.apart import Apart
from curate.select.facility_location import Problem, gains_over
from curate.select.kinds import Kinds
from curate.select.similarity import squared
from curate.types import Floats

TRACE = 0.1
"""Share of what a choice adds that a better face in its place may add less."""
EACH = 16
"""Faces of one cell that are looked at: the best ones."""


@dataclass(frozen=True, eq=False)
class Better:
    """What may take the place of a choice: the best face that is alike, and apart from all earlier choices."""

    problem: Problem
    kinds: Kinds
    good: Floats
    """(N,) quality of the problem's candidates."""
    radius: float
    """Distance of faces that are alike."""
    apart: Apart

    def __call__(self, row: int, best: Floats, share: Floats) -> tuple[int, Floats] | None:
        """A face that is better than the one at `row`, and its (M,) similarities; None where there is none.

        `best` (M,) are the similarities to the choices so far, and `share` (M,) is how much they count.
        """
        rows = self._alike(row)
        rows = rows[~self.apart.near_many(rows)] if len(rows) else rows
        if not len(rows):
            return None
        found = self.problem.rows(np.append(row, rows))
        gains = gains_over(best, found, share)
        enough = np.flatnonzero(gains[1:] >= (1 - TRACE) * gains[0])
        if not len(enough):
            return None
        return int(rows[enough[0]]), found[1 + enough[0]]

    def _alike(self, row: int) -> NDArray[np.int64]:
        """Faces that are alike and better, the best first."""
        point = self.problem.points[[row]]
        near = np.flatnonzero(squared(point, self._leaders)[0] < 4 * self.radius**2)
        near = np.union1d(near, self.kinds.cell[[row]])  # a cell of very many is wider
        rows = np.concatenate([self._order[start : min(start + EACH, stop)] for start, stop in self._spans[near]])
        rows = rows[self.good[rows] > self.good[row]]
        rows = rows[squared(point, self.problem.points[rows])[0] < self.radius**2]
        return np.asarray(rows[np.lexsort((rows, -self.good[rows]))], np.int64)

    @cached_property
    def _leaders(self) -> Floats:
        return self.problem.points[self.kinds.rows]

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.lexsort((-self.good, self.kinds.cell))

    @cached_property
    def _spans(self) -> NDArray[np.int64]:
        ends = np.cumsum(np.bincount(self.kinds.cell, minlength=len(self.kinds.rows)))
        return np.column_stack([np.append(0, ends[:-1]), ends])
