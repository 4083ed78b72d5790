"""Facility location: the few faces that represent all faces best.

f(S) = sum_i c_i max_{j in S} q_j s_ij / sum_i c_i, with s the similarity, q_j <= 1 the worth of face j (a gentle
preference for quality) and c_i the demand of face i. f is monotone and submodular, so the greedy order reaches 1 - 1/e
of the optimum or more at every length (Nemhauser, Wolsey and Fisher 1978); old gains bound new ones, so most need not
be computed again (lazy greedy, Minoux 1978). Orders are nested: the first k of a longer one are the order of length k.
How good a selection really is says `certain`, from the largest gains that are left.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curate.select.apart import Apart
from curate.select.similarity import Kernel
from curate.types import Floats

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

PAIRS = 12_000_000
"""Pairs of candidate and face that are stored, about (8 bytes each)."""
LEAST_DENSE = 4
BLOCK_CELLS = 4_000_000
"""Similarities computed at a time (16 MB)."""
_FEW = 64
COMPANY = 4
"""Candidates to look at together at first, up to 16 times as many where bounds are loose."""
TIE = np.float32(1e-4)
"""Similarities that differ by a smaller share are equal: the same face reads a little otherwise in another block."""
ROUND = 8
"""Decimals of a gain, as a share of the value of all faces: equal faces tie exactly, and the first is taken."""
Better = Callable[[int, Floats, Floats], tuple[int, Floats] | None]
"""Another face in place of a choice, and its similarities; see `curate.select.better`."""


@dataclass(frozen=True, eq=False)
class Order:
    """A greedy order of choice."""

    chosen: Indices
    """(K,) rows of the candidates, first choice first."""
    gains: Doubles
    """(K,) what each choice added, as a share of the value of all candidates; their sum is at most 1."""
    total: float
    """f of all candidates together, 0..1."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Candidates (N, D), the faces to be represented (M, D) and the width of the similarity."""

    points: Floats
    demand: Floats
    width: float
    demand_weight: Doubles
    """(M,) c_i, 0 or more, not all 0."""
    worth: Floats
    """(N,) q_j in 0..1."""

    def blocks(self) -> Iterator[Indices]:
        """All candidates in blocks of BLOCK_CELLS similarities."""
        step = max(1, BLOCK_CELLS // max(1, len(self.demand)))
        for start in range(0, len(self.points), step):
            yield np.arange(start, min(start + step, len(self.points)))

    @cached_property
    def kernel(self) -> Kernel:
        """Similarity to the faces to be represented."""
        return Kernel(self.demand, self.width)

    def rows(self, rows: Indices) -> Floats:
        """(B, M) q_j s_ij of some candidates."""
        found = self.kernel(self.points[rows])
        found *= self.worth[rows, None]
        return found

    def logs(self, rows: Indices) -> Floats:
        """(B, M) log(q_j s_ij) of some candidates: half the work of `rows`, for those that are only compared."""
        return self.kernel.log(self.points[rows], np.log(np.maximum(self.worth[rows], 1e-30)))


def order(
    problem: Problem,
    length: int,
    enough: float = np.inf,
    least_gain: float = 0.0,
    first: Sequence[int] = (),
    apart: Apart | None = None,
    names: Indices | None = None,
    better: Better | None = None,
) -> Order:
    """The greedy order of at most `length` of the N candidates; the rows `first` are taken before, as they stand.

    It ends earlier where the choices reach `enough` of the value of all, or where the next one would add less than
    `least_gain` of it; with `apart` also where all that is left adds nothing or is too near to a chosen one. Ties go to
    the lower row. Two passes over all N x M similarities, D operations each: one for a start, one after some choices,
    which keeps only the pairs that can still add something. Of M faces about one in m + 1 is nearer to a candidate than
    to m choices, which says when PAIRS are enough.

    `names` (N,): as what `apart`, `better` and the answer know the candidates. `better` may replace a choice.
    """
    dense = max(LEAST_DENSE, len(problem.points) * len(problem.demand) // PAIRS)
    gains_of, heap = _start(problem)
    course = _Course(gains_of, np.arange(len(problem.points)) if names is None else names, apart)
    for row in first:
        course.take(row, gains_of([row])[0], None)
    left_out = set(first)
    heap = _without(heap, left_out)
    while len(course.rows) < length and course.reached < enough:
        if not gains_of.thinned and (len(course.rows) >= dense or not heap or heap[0][0] == 0.0):
            heap = _without(gains_of.thin(), left_out)
        if not heap:
            break
        gain, row = _next(heap, gains_of)
        if (gain < least_gain and course.rows) or (gain == 0.0 and apart and gains_of.thinned):
            break
        if gain == 0.0 and not gains_of.thinned:
            continue
        left_out.add(row)
        if apart and apart.near(int(course.names[row])):
            continue
        course.take(row, gain, better)
        if gain == 0.0 and not apart:
            course.fill(heap, problem.worth, length)
            break
    return Order(np.array(course.answer, np.int64), np.array(course.gains, np.float64), gains_of.total)


class _Course:
    """The choices so far."""

    def __init__(self, gains_of: _Gains, names: Indices, apart: Apart | None) -> None:
        self._gains_of, self.names, self._apart = gains_of, names, apart
        self.rows: list[int] = []
        self.answer: list[int] = []
        """Their names."""
        self.gains: list[float] = []
        self.reached = 0.0
        """Their sum."""

    def take(self, row: int, gain: float, better: Better | None) -> None:
        """Choose a candidate, or what is better."""
        gains_of, name = self._gains_of, int(self.names[row])
        other = better(name, gains_of.best, gains_of.share) if better else None
        if other is None:
            gains_of.choose(row)
        else:
            name, found = other
            gain = round(float(gains_over(gains_of.best, found[None], gains_of.share)[0]), ROUND)
            gains_of.reach(found)
        self.rows.append(row)
        self.answer.append(name)
        self.gains.append(gain)
        self.reached += gain
        if self._apart:
            self._apart.add(name)

    def fill(self, heap: list[tuple[float, int]], worth: Floats, length: int) -> None:
        """Near-duplicates, when nothing else is left: in order of worth."""
        rest = sorted((row for _, row in heap), key=lambda row: (-float(worth[row]), row))[: length - len(self.rows)]
        self.rows.extend(rest)
        self.answer.extend(self.names[rest].tolist())
        self.gains.extend([0.0] * len(rest))


def certain(problem: Problem, chosen: Indices) -> float:
    """0..1: share of the value of the best possible choice of as many candidates that `chosen` (K,) has for certain.

    By submodularity the best choice is worth at most the chosen ones and the K largest gains that they leave.
    """
    weight = problem.demand_weight / problem.demand_weight.sum()
    best = np.zeros(len(problem.demand), np.float32)
    for start in range(0, len(chosen), _FEW):
        np.maximum(best, problem.rows(chosen[start : start + _FEW]).max(0), out=best)
    value, share, gains = float(best @ weight), weight.astype(np.float32), []
    bar = np.log(np.maximum(best, 1e-30)) + TIE
    for rows in problem.blocks():
        block = problem.logs(rows)
        row, face = np.divmod(np.flatnonzero(block > bar), len(bar))
        added = (np.exp(np.minimum(block[row, face], 0)) - best[face]) * share[face]
        gains.append(np.bincount(row, np.maximum(added, 0), len(rows)))
    largest = np.sort(np.concatenate(gains))[::-1][: len(chosen)]
    return value / max(value + float(largest.sum(dtype=np.float64)), 1e-12)


def gains_over(best: Floats, found: Floats, share: Floats) -> Floats:
    """(B,) what faces with the similarities `found` (B, M) add to the `best` (M,) so far."""
    return np.asarray(np.where(found > best * (1 + TIE), found - best, np.float32(0)) @ share)


class _Gains:
    """What candidates add to those chosen so far, as a share of the value of all."""

    def __init__(self, problem: Problem, share: Floats, total: float) -> None:
        self._problem, self.share, self.total = problem, share, total
        self.best = np.zeros(len(problem.demand), np.float32)
        self._pairs: tuple[Indices, NDArray[np.int32], Floats] | None = None

    @property
    def thinned(self) -> bool:
        """Whether only the pairs that can still add something are left."""
        return self._pairs is not None

    def __call__(self, rows: list[int]) -> list[float]:
        if self._pairs is not None:
            spans = [self._of(row) for row in rows]
            owner = np.repeat(np.arange(len(rows)), [len(faces) for faces, _ in spans])
            faces, found = (np.concatenate(part) for part in zip(*spans, strict=True))
            return self._sums(owner, faces, found, len(rows))
        found = self._problem.rows(np.array(rows))
        return [round(float(gain), ROUND) for gain in gains_over(self.best, found, self.share)]

    def choose(self, row: int) -> None:
        """Count one candidate as chosen."""
        if self._pairs is None:
            np.maximum(self.best, self._problem.rows(np.array([row]))[0], out=self.best)
        else:
            faces, found = self._of(row)
            self.best[faces] = np.maximum(self.best[faces], found)

    def reach(self, found: Floats) -> None:
        """Count a face with these similarities (M,) as chosen."""
        np.maximum(self.best, found, out=self.best)

    def thin(self) -> list[tuple[float, int]]:
        """Keep the pairs that are better than what is chosen, no other can add anything any more; a new heap."""
        starts, faces, found = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        gains: list[float] = []
        bar = np.log(np.maximum(self.best, 1e-30)) + TIE
        for rows in self._problem.blocks():
            block = self._problem.logs(rows)
            row, face = np.divmod(np.flatnonzero(block > bar), len(bar))
            starts.append(starts[-1][-1] + np.cumsum(np.bincount(row, minlength=len(rows))))
            faces.append(face.astype(np.int32))
            found.append(np.exp(np.minimum(block[row, face], 0)))
            gains += self._sums(row, faces[-1], found[-1], len(rows))
        self._pairs = np.concatenate(starts), np.concatenate(faces), np.concatenate(found)
        heap = [(-gain, row) for row, gain in enumerate(gains)]
        heapq.heapify(heap)
        return heap

    def _of(self, row: int) -> tuple[NDArray[np.int32], Floats]:
        assert self._pairs is not None
        starts, faces, found = self._pairs
        span = slice(int(starts[row]), int(starts[row + 1]))
        return faces[span], found[span]

    def _sums(self, owner: Indices, faces: NDArray[np.int32], found: Floats, count: int) -> list[float]:
        """What each of `count` candidates adds, of pairs that belong to the candidate `owner`."""
        best = self.best[faces]
        added = np.where(found > best * (1 + TIE), found - best, np.float32(0)) * self.share[faces]
        return [float(gain) for gain in np.round(np.bincount(owner, added, count), ROUND)]


def _start(problem: Problem) -> tuple[_Gains, list[tuple[float, int]]]:
    """What all candidates are worth together, and a heap of bounds of their gains."""
    weight = problem.demand_weight / problem.demand_weight.sum()
    bounds = np.empty(len(problem.points))
    reach = np.full(len(problem.demand), -np.inf, np.float32)
    for rows in problem.blocks():
        found = problem.logs(rows)
        np.maximum(reach, found.max(0), out=reach)
        bounds[rows] = np.exp(np.minimum(found, 0)) @ weight.astype(np.float32)
    total = float(np.exp(np.minimum(reach, 0)) @ weight)
    heap = [(-bound, row) for row, bound in enumerate((bounds / total + 1e-6).tolist())]
    heapq.heapify(heap)
    return _Gains(problem, (weight / total).astype(np.float32), total), heap


def _without(heap: list[tuple[float, int]], taken: set[int]) -> list[tuple[float, int]]:
    rest = [entry for entry in heap if entry[1] not in taken]
    heapq.heapify(rest)
    return rest


def _next(heap: list[tuple[float, int]], gains_of: _Gains) -> tuple[float, int]:
    """The candidate with the largest gain, taken off the heap of upper bounds."""
    size = COMPANY
    while True:
        rows = [heapq.heappop(heap)[1] for _ in range(min(size, len(heap)))]
        for gain, row in zip(gains_of(rows), rows, strict=True):
            heapq.heappush(heap, (-gain, row))
        if heap[0][1] in rows:
            gain, row = heapq.heappop(heap)
            return -gain + 0.0, row
        size = min(2 * size, 16 * COMPANY)
