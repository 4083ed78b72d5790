"""Distribution of faces along one axis: footage and selection counted in the same bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.axes import READABLE
from curate.schema import BY_NAME
from curate.vectors import Vectors

Doubles = NDArray[np.float64]
AXIS_EDGES = np.linspace(-0.25, 1, 26)


@dataclass(frozen=True)
class Spread:
    """One axis: counts of footage and selection in the same bins."""

    name: str
    title: str
    unit: str
    edges: NDArray[np.float64]
    """(B + 1,)."""
    footage: NDArray[np.int64]
    selection: NDArray[np.int64]
    footage_range: tuple[float, float] | None
    """5 and 95 % of the footage's faces; None without faces."""
    selection_range: tuple[float, float] | None
    target: NDArray[np.int64] | None = None
    """Counts of the target's faces, where there is one."""


def expression(kept: pd.DataFrame, chosen: pd.DataFrame, name: str, target: pd.DataFrame | None = None) -> Spread:
    """One of curate.axes.EXPRESSION, a column of all tables."""
    tables = (kept, chosen) if target is None else (kept, chosen, target)
    values = [np.asarray(t[name].to_numpy(np.float64, na_value=np.nan)) for t in tables]
    return _spread(name, READABLE[name].title, "0 neutral, 1 full", AXIS_EDGES, *values)


def lighting(kept: pd.DataFrame, chosen: pd.DataFrame, index: int) -> Spread:
    """Exposure (3) or warmth (4) out of the column lighting."""
    axis = READABLE[{3: "exposure", 4: "warmth"}[index]]
    values = [_stack(t["lighting"], 6)[:, index] for t in (kept, chosen)]
    return _spread(axis.name, axis.title, axis.unit, _edges(values[0]), values[0], values[1])


def quality(kept: pd.DataFrame, chosen: pd.DataFrame, name: str) -> Spread:
    """One of the schema's quality measures."""
    column = BY_NAME[name]
    values = [np.asarray(t[name].to_numpy(np.float64, na_value=np.nan)) for t in (kept, chosen)]
    return _spread(name, column.doc, column.unit, _edges(values[0]), values[0], values[1])


def _stack(column: pd.Series, size: int) -> NDArray[np.float64]:
    if isinstance(column.array, Vectors):
        return column.array.values[~column.isna().to_numpy()].astype(np.float64)
    rows = [v for v in column if v is not None]
    return np.stack(rows).astype(np.float64) if rows else np.zeros((0, size))


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """26 edges over the middle 99 % of the values."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (0.5, 99.5)) if len(known) else (0.0, 1.0)
    least = 0.01 * max(abs(low), 1)
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    return np.linspace(low, high, 26)


def _spread(
    name: str,
    title: str,
    unit: str,
    edges: NDArray[np.float64],
    footage: Doubles,
    selection: Doubles,
    target: Doubles | None = None,
) -> Spread:
    values = [v[np.isfinite(v)] for v in (footage, selection, target) if v is not None]
    counts = [np.histogram(np.clip(v, edges[0], edges[-1]), bins=edges)[0].astype(np.int64) for v in values]
    ranges = [span(pd.Series(v), 0.05) for v in values]
    asked = counts[2] if target is not None else None
    return Spread(name, title, unit, edges, counts[0], counts[1], ranges[0], ranges[1], asked)


def span(values: pd.Series, tail: float) -> tuple[float, float] | None:
    """The values but for a share `tail` at each end; None without any. Nulls are left out."""
    known = values.dropna()
    return (float(known.quantile(tail)), float(known.quantile(1 - tail))) if len(known) else None
