"""Quality of a face compared with that of faces that look like it: an unusual pose is not held against a face."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.select.kinds import SAME_KIND, Kinds
from curate.select.similarity import Kernel
from curate.types import Floats

Doubles = NDArray[np.float64]

MEASURES = {
    "Sharpness": (3.0, 0.1), "MotionBlur": (-0.3, 0.2), "FaceOcclusionPrevention": (0.4, 0.2),
    "InterEyeDistance": (0.1, 20.0), "UnderExposurePrevention": (0.1, 0.2), "OverExposurePrevention": (0.1, 0.2),
    "pose_confidence": (0.1, 0.2), "landmark_confidence": (0.1, 0.2), "CompressionArtifacts": (-0.1, 0.2),
    "LandmarkJump": (-0.1, 0.04),
}  # fmt: skip
"""How much each measure counts per spread of the footage, below 0 where less is better, and the least spread: what
hardly varies hardly counts. Set on four clips for sharpness to decide between like faces, judged on others
(docs/evidence.md)."""
QUALITY_PULL = 0.15
"""The worst of like faces represents others 15 % less well than the best."""
LIKE = 0.9
"""Similarity from which on the faces of two cells are compared in quality."""
SHARP, REFERENCE = 0.9, 0.75
"""A cell is as sharp as this quantile of its faces, and faces of a kind are as sharp as that quantile of its cells."""
HALF = 0.5
"""A face smaller than this share of like faces is left out."""
MOST_EACH = 20
"""Faces of one cell that count, at most."""
_BLOCK = 100


def quality(faces: pd.DataFrame, kinds: Kinds | None = None) -> Floats:
    """(N,) quality, higher is better: the sum of the MEASURES in spreads of the footage; a null is the median.

    With `kinds` at most MOST_EACH faces of each cell count in these spreads, however long a pose is held.
    """
    total, count = np.zeros(len(faces)), np.ones(len(faces))
    if kinds is not None:
        size = np.bincount(kinds.cell, minlength=len(kinds.rows))
        count = (np.minimum(size, MOST_EACH) / np.maximum(size, 1))[kinds.cell]
    for name, (share, least) in MEASURES.items():
        if name not in faces:
            continue
        values = faces[name].to_numpy(np.float64, na_value=np.nan)
        low, middle, high = _quantiles(values, count, (0.1, 0.5, 0.9))
        total += share * np.clip(np.nan_to_num((values - middle) / max(high - low, least)), -2, 2)
    return total.astype(np.float32)


def _quantiles(values: Doubles, count: Doubles, shares: tuple[float, ...]) -> Doubles:
    """Quantiles of the finite values (N,), each counted `count` (N,) times; zeros where there are none."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros(len(shares))
    known = known[np.argsort(values[known], kind="stable")]
    total = np.cumsum(count[known])
    return np.asarray(np.interp(np.array(shares) * total[-1], total - count[known] / 2, values[known]), np.float64)


def worth(kinds: Kinds, points: Floats, width: float, good: Floats) -> Floats:
    """(N,) 1 - QUALITY_PULL .. 1: quality `good` (N,) against the mean of like faces."""
    count = np.minimum(np.bincount(kinds.cell, minlength=len(kinds.rows)), MOST_EACH)
    mean = np.bincount(kinds.cell, good, len(kinds.rows)) / np.maximum(
        np.bincount(kinds.cell, minlength=len(kinds.rows)), 1
    )
    usual = np.empty(len(kinds.rows))
    for start, like in _likeness(kinds, points, width):
        share = like * count
        usual[start : start + len(like)] = share @ mean / share.sum(1)
    above = good - usual[kinds.cell]
    return np.asarray(1 - QUALITY_PULL / (1 + np.exp(np.clip(2 * above, -30, 30))), np.float32)


def soft(kinds: Kinds, points: Floats, width: float, faces: pd.DataFrame, limit: float) -> NDArray[np.bool_]:
    """(N,) which faces are less sharp than those of the same kind by more than `limit`, in the unit of Sharpness.

    Faces that are only a little alike do not count: a soft face is not left out where no other shows what it shows.
    """
    sharp = faces["Sharpness"].to_numpy(np.float64, na_value=np.nan) if "Sharpness" in faces else np.full(1, np.nan)
    return _below(kinds, points, width, sharp, limit)


def small(kinds: Kinds, points: Floats, width: float, faces: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) which faces are less than HALF as large as those of the same kind, by the distance between the eyes."""
    eyes = (
        faces["InterEyeDistance"].to_numpy(np.float64, na_value=np.nan) if "InterEyeDistance" in faces else np.zeros(1)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.where(eyes > 0, np.log2(eyes), np.nan)
    return _below(kinds, points, width, sizes, -float(np.log2(HALF)))


def _below(kinds: Kinds, points: Floats, width: float, values: Doubles, limit: float) -> NDArray[np.bool_]:
    """(N,) which values are below those of the same kind by more than `limit`; none where no value is known."""
    if np.isnan(values).all():
        return np.zeros(len(points), bool)
    cells = len(kinds.rows)
    own = _cell_value(kinds, values)
    count = np.where(np.isfinite(own), np.minimum(np.bincount(kinds.cell, minlength=cells), MOST_EACH), 0)
    order = np.argsort(np.nan_to_num(own, nan=-np.inf), kind="stable")
    usual = np.empty(cells)
    for start, like in _likeness(kinds, points, width, SAME_KIND):
        total = np.cumsum((like > 0)[:, order] * count[order], axis=1)
        at = (total < REFERENCE * total[:, -1:]).sum(1)
        usual[start : start + len(like)] = own[order][np.minimum(at, cells - 1)]
    found: NDArray[np.bool_] = values < usual[kinds.cell] - limit
    return found


def _cell_value(kinds: Kinds, values: Doubles) -> Doubles:
    """(K,) quantile SHARP of each cell's values, from below; NaN where no face has one."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], kinds.cell[known]))]
    size = np.bincount(kinds.cell[known], minlength=len(kinds.rows))
    ends = np.cumsum(size)
    at = ends - size + np.ceil(SHARP * (size - 1)).astype(int)
    found = np.full(len(kinds.rows), np.nan)
    found[size > 0] = values[order[at[size > 0]]]
    return found


def _likeness(kinds: Kinds, points: Floats, width: float, least: float | None = None) -> Iterator[tuple[int, Floats]]:
    """Blocks of cells: the first, and (B, K) similarity of each to all cells, 0 below `least`."""
    kernel = Kernel(points[kinds.rows], width)
    for start in range(0, len(kinds.rows), _BLOCK):
        like = kernel(points[kinds.rows[start : start + _BLOCK]])
        like[like < (LIKE if least is None else least)] = 0
        yield start, like


def best_of_cells(kinds: Kinds, good: Floats) -> NDArray[np.int64]:
    """(K,) rows: the best face of each cell by `good` (N,), the first of equal ones; in rising order."""
    order = np.lexsort((-good, kinds.cell))
    first = np.append(True, kinds.cell[order][1:] != kinds.cell[order][:-1])
    return np.sort(order[first])
