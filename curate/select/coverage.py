"""Coverage of faces by other faces, and how varied faces are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.select import facility_location, similarity
from curate.select.content import in_content_order, stands_for
from curate.select.kinds import ALIKE, kinds_of, radius_of
from curate.select.options import Weights
from curate.select.similarity import Kernel, net
from curate.select.space import BLOCKS, Space
from curate.types import Clip, Floats

SAMPLE = 6000
"""Redundancy is read from at most this many faces, drawn by their content."""
VENDI_SAMPLE = 1500
CURVE_POINTS = 512
BIN = 10.0
"""Degrees."""
YAW_EDGES = np.arange(-90.0, 90.0 + BIN, BIN)
PITCH_EDGES = np.arange(-60.0, 60.0 + BIN, BIN)


def nearest(space: Space, points: Floats, chosen: Floats) -> Floats:
    """(N,) float32 0..1: similarity of each point (N, D) to the chosen one (K, D) most like it; 0 if K is 0."""
    best = np.zeros(len(points), np.float32)
    if not len(chosen):
        return best
    kernel = Kernel(chosen, space.width)
    step = max(1, facility_location.BLOCK_CELLS // len(chosen))
    for start in range(0, len(points), step):
        best[start : start + step] = np.exp(np.minimum(kernel.log(points[start : start + step]).max(1), 0))
    return best


def coverage(space: Space, points: Floats, chosen: Floats, weight: NDArray[np.floating] | None = None) -> float:
    """0..1: mean over all points (N, D) of the similarity to the chosen one (K, D) most like it.

    `weight` (N,), not all 0, counts the points unequally (see `demand`). 0 for no points.
    """
    if not len(points):
        return 0.0
    return float(np.average(nearest(space, points, chosen).astype(np.float64), weights=weight))


def curve(space: Space, points: Floats, chosen: Floats, weight: NDArray[np.floating] | None = None) -> Floats:
    """(K,) coverage of the points by the first 1, 2, ... K of the chosen, in their order.

    Of more than CURVE_POINTS chosen it is computed for so many numbers of faces, and interpolated between them.
    """
    count = len(chosen)
    if not len(points) or not count:
        return np.zeros(count, np.float32)
    share = np.full(len(points), 1 / len(points)) if weight is None else np.asarray(weight) / np.sum(weight)
    few = count <= CURVE_POINTS
    ends = np.arange(1, count + 1) if few else np.unique(np.geomspace(1, count, CURVE_POINTS).round().astype(int))
    starts = np.concatenate([[0], ends[:-1]])
    total = np.zeros(len(ends))
    kernel = Kernel(chosen, space.width)
    step = max(1, facility_location.BLOCK_CELLS // count)
    for start in range(0, len(points), step):
        best = np.maximum.reduceat(kernel.log(points[start : start + step]), starts, axis=1)
        np.maximum.accumulate(best, axis=1, out=best)
        total += share[start : start + step] @ np.exp(np.minimum(best, 0, out=best))
    return np.interp(np.arange(1, count + 1), ends, total).astype(np.float32)


def demand(space: Space, points: Floats, seconds: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(N,) weights with which every kind of face counts alike (see `curate.select.kinds`), shared among its faces.

    `seconds` (N,) for which each face is shown; None: one second each. The sum of the weights is at most the number of
    kinds; a pose that is held for an hour counts once.
    """
    kinds = kinds_of(points, space.width, np.ones(len(points)) if seconds is None else seconds)
    faces = np.bincount(kinds.cell, minlength=len(kinds.rows))
    return np.asarray((kinds.weight / faces)[kinds.cell], np.float64)


def vendi(similarity: NDArray[np.floating]) -> float:
    """Effective number of distinct faces, 1..N, of similarities (N, N) with ones on the diagonal; 0 for none.

    The Vendi score (Friedman and Dieng 2023): e to the entropy of the eigenvalues of the matrix over N.
    """
    if not len(similarity):
        return 0.0
    values = np.linalg.eigvalsh(np.asarray(similarity, np.float64) / len(similarity))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def distinct(table: pd.DataFrame, weights: Weights | None = None) -> dict[str, float]:
    """Vendi scores of the kept faces by block of BLOCKS, and "joint", in the absolute space.

    Of like faces one counts, so that a part never has more than the whole because it is less repetitive; of at most
    VENDI_SAMPLE of them, drawn by their content, which bounds the score. A block alone has the joint space's width.
    """
    kept = in_content_order(table, (table["kept"].astype(bool) & table["yaw"].notna()).to_numpy())
    if not len(kept):
        return dict.fromkeys((*BLOCKS, "joint"), 0.0)
    space = Space.absolute(kept, weights)
    points = _unlike(kept, space)
    found = {}
    for name in BLOCKS:
        share = space.share(name)
        block = space.block(points, name) / np.float32(np.sqrt(share)) if share else space.block(points, name)
        found[name] = vendi(Kernel(block, space.width)(block))
    return found | {"joint": vendi(space.similarity(points, points))}


def _unlike(kept: pd.DataFrame, space: Space) -> Floats:
    """Points of the first faces that are not alike, VENDI_SAMPLE at most."""
    found, radius = space.embed(kept.iloc[:1]), radius_of(space.width, ALIKE)
    for start in range(0, len(kept), SAMPLE):
        points = space.embed(kept.iloc[start : start + SAMPLE])
        points = points[similarity.nearest(points, found)[1] >= radius**2]
        found = np.concatenate([found, points[net(points, radius, len(points))[0]]])
        if len(found) >= VENDI_SAMPLE:
            break
    return found[:VENDI_SAMPLE]


def redundancy(table: pd.DataFrame, weights: Weights | None = None) -> float:
    """0..1: share of the footage, as filmed, that shows what another of its faces shows already: faces whose
    similarity to an earlier one is ALIKE or more, in the absolute space.

    Read from at most SAMPLE faces, drawn by their content.
    """
    kept = in_content_order(table, (table["kept"].astype(bool) & table["yaw"].notna()).to_numpy())
    if not len(kept):
        return 0.0
    space = Space.absolute(kept, weights)
    points = space.embed(kept.iloc[:SAMPLE])
    distinct_faces, _ = net(points, radius_of(space.width, ALIKE), len(points))
    return 1 - len(distinct_faces) / max(float(stands_for(kept).sum()) * len(points) / len(kept), 1.0)


def frame_rate(clips: Sequence[Clip]) -> float | None:
    """Average frames a second over all clips, or None if none is a video."""
    films = [c for c in clips if c.fps > 0 and c.frames > 0]
    return sum(c.frames for c in films) / sum(c.frames / c.fps for c in films) if films else None


@dataclass(frozen=True, eq=False)
class PoseBins:
    """Faces by yaw and pitch."""

    counts: NDArray[np.int64]
    """(P, Y) faces in each cell of BIN degrees; faces beyond the edges are in the outermost cells."""
    yaw_edges: NDArray[np.float64]
    pitch_edges: NDArray[np.float64]

    @property
    def occupied(self) -> int:
        """Cells with a face."""
        return int((self.counts > 0).sum())

    @property
    def entropy(self) -> float:
        """Shannon entropy of the cells in bits: 2 to its power is the number of cells that are used evenly."""
        share = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(abs((share * np.log2(share)).sum()))


def pose_bins(yaw: NDArray[np.floating], pitch: NDArray[np.floating]) -> PoseBins:
    """Counts of faces (N,) in cells of yaw and pitch, degrees; faces with a null are left out."""
    known = np.isfinite(yaw) & np.isfinite(pitch)
    inside_yaw = np.clip(yaw[known], YAW_EDGES[0], YAW_EDGES[-1])
    inside_pitch = np.clip(pitch[known], PITCH_EDGES[0], PITCH_EDGES[-1])
    counts, _, _ = np.histogram2d(inside_pitch, inside_yaw, bins=(PITCH_EDGES, YAW_EDGES))
    return PoseBins(counts.astype(np.int64), YAW_EDGES, PITCH_EDGES)
