"""Order and duration of the faces in a table, from their content alone: neither depends on names or on row order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.vectors import Vectors

NUMBERS, VECTORS = ("yaw", "pitch", "roll"), ("expression", "gaze", "lighting")
PIECE = 10_000
"""Faces that are read at a time."""
_ODD = np.uint64(0x9E3779B97F4A7C15)


def content_order(table: pd.DataFrame) -> NDArray[np.int64]:
    """(N,) rows of the table in an order that is drawn by what the faces look like.

    A hash of pose, expression, gaze and light; equal faces follow each other by time and face_id. The columns that a
    table lacks are passed over.
    """
    return order_of(content_hash(table), table)


def in_content_order(table: pd.DataFrame, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Some rows (N,) of the table in order of content; the table itself, not copied, where it is that already."""
    kept = rows_of(table, np.flatnonzero(rows))
    return rows_of(kept, content_order(kept))


def rows_of(table: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Some rows of a table, numbered from 0; the table itself, not copied, where these are all rows in their order."""
    if len(rows) == len(table) and bool((rows == np.arange(len(table))).all()):
        return table.reset_index(drop=True)
    return table.iloc[rows].reset_index(drop=True)


def order_of(codes: NDArray[np.uint64], table: pd.DataFrame) -> NDArray[np.int64]:
    """(N,) the rows of the table by the hashes (N,) of their content; equal ones by time and face_id."""
    order = np.argsort(codes, kind="stable").astype(np.int64)
    same = codes[order][1:] == codes[order][:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        keys: list[Any] = [table[c].iloc[rows].to_numpy() for c in ("face_id", "time") if c in table]
        keys = [k.astype(str) if k.dtype == object else k for k in keys]
        order[tied] = rows[np.lexsort([*keys, codes[rows]])]
    return order


def content_hash(table: pd.DataFrame) -> NDArray[np.uint64]:
    """(N,) hashes of the faces' pose, expression, gaze and light, as float32."""
    found = np.zeros(len(table), np.uint64)
    for start in range(0, len(table), PIECE):
        piece = table.iloc[start : start + PIECE]
        found[start : start + PIECE] = _hash(piece)
    return found


def _hash(piece: pd.DataFrame) -> NDArray[np.uint64]:
    state = np.full(len(piece), _ODD)
    with np.errstate(over="ignore"):
        for name in (*NUMBERS, *VECTORS):
            if name not in piece:
                continue
            block = _numbers(piece[name]) if name in NUMBERS else _vectors(piece[name])
            for column in block.T:
                state = (state ^ column) * _ODD
                state ^= state >> np.uint64(29)
    return state


def _numbers(column: pd.Series[Any]) -> NDArray[np.uint64]:
    values = column.to_numpy(np.float32, na_value=np.nan)
    return np.ascontiguousarray(values + np.float32(0)).view(np.uint32).astype(np.uint64)[:, None]


def _vectors(column: pd.Series[Any]) -> NDArray[np.uint64]:
    """(N, size) bits of a column of vectors; 0 where null."""
    if isinstance(column.array, Vectors):
        packed = np.where(column.array.isna()[:, None], np.float32(0), column.array.values)
        return (packed + np.float32(0)).view(np.uint32).astype(np.uint64)
    size = next((np.size(v) for v in column if v is not None and np.ndim(v) == 1), 0)
    empty = np.zeros(size, np.float32)
    rows = [empty if v is None or np.ndim(v) != 1 else v for v in column]
    values = np.array(rows, np.float32).reshape(len(rows), size)
    return (values + np.float32(0)).view(np.uint32).astype(np.uint64)


def stands_for(table: pd.DataFrame) -> NDArray[np.float64]:
    """(N,) frames of the footage for which each face stands; 1 where the table does not say."""
    if "stands_for" not in table:
        return np.ones(len(table))
    return np.asarray(table["stands_for"].fillna(1), np.float64)


def seconds(table: pd.DataFrame) -> NDArray[np.float64]:
    """(N,) seconds of the footage for which each face stands: its frames times the clip's seconds per frame.

    A photo counts one second, as does every face of a table that does not say when it was shot.
    """
    frames = stands_for(table)
    if "time" not in table or "clip" not in table:
        return frames
    found = np.empty(len(table))
    time = table["time"].to_numpy(np.float64, na_value=np.nan)
    number = table["frame"].to_numpy(np.float64, na_value=np.nan) if "frame" in table else np.full(len(table), np.nan)
    code, _ = pd.factorize(table["clip"])
    order = np.argsort(code, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        found[rows] = frames[rows] * _frame_seconds(time[rows], number[rows])
    return found


def _frame_seconds(time: NDArray[np.float64], number: NDArray[np.float64]) -> float:
    """Seconds per frame of one clip, at most 1."""
    known = np.isfinite(time) & np.isfinite(number)
    if known.any() and np.ptp(number[known]) > 0 and np.ptp(time[known]) > 0:
        return float(min(np.ptp(time[known]) / np.ptp(number[known]), 1.0))
    steps = np.diff(np.unique(time[np.isfinite(time)]))
    return float(min(np.median(steps), 1.0)) if len(steps) else 1.0
