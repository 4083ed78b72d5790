"""Geometry of the charts: numbers in, coordinates out. The drawing itself is `templates/charts.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
"""A cell's shade is the number of these shares of all faces that it is above."""
SHADES = ("none", "up to 0.1 %", "up to 0.3 %", "up to 1 %", "up to 3 %", "up to 10 %", "more")


@dataclass(frozen=True)
class Timeline:
    """One measure over time, in a box of width x height units."""

    width: int
    height: int
    area: str
    """Points of a closed polygon from the lowest to the highest value of each column of pixels."""
    threshold: float
    """y of the threshold, from the top."""
    top: float
    """Value at the top edge."""
    events: tuple[tuple[float, float, str, str], ...]
    """x, width, severity, text."""


def timeline(
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    threshold: float,
    events: Sequence[tuple[float, float, str, str]],
    width: int = 960,
    height: int = 72,
) -> Timeline:
    """The values (N,) at times (N,) seconds, NaN left out; events are (start, end, severity, text) in seconds."""
    start, length = (float(time[0]), max(float(np.ptp(time)), 1e-6)) if len(time) else (0.0, 1.0)
    known = np.isfinite(values)
    top = max(2 * threshold, 1.05 * float(values[known].max()) if known.any() else 0.0)
    column = np.minimum((time - start) / length * (width - 1), width - 1).astype(np.int64)
    pieces = []
    for piece in np.split(np.flatnonzero(known), np.flatnonzero(np.diff(np.flatnonzero(known)) > 1) + 1):
        if not len(piece):
            continue
        at, first = np.unique(column[piece], return_index=True)
        high = np.maximum.reduceat(values[piece], first)
        xs = [float(at[0]), *(at + 0.5), float(at[-1] + 1)]
        ys = height - np.concatenate([[high[0]], high, [high[-1]]]) / top * height
        line = "L".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        pieces.append(f"M{xs[0]:.1f},{height}L{line}L{xs[-1]:.1f},{height}Z")
    spans = tuple(
        ((a - start) / length * width, max((b - a) / length * width, 3.0), severity, text)
        for a, b, severity, text in events
    )
    return Timeline(width, height, "".join(pieces), height - threshold / top * height, top, spans)


@dataclass(frozen=True)
class Cell:
    """One square of a map."""

    x: float
    y: float
    shade: int
    """0..6, see SHADES."""
    count: int
    missing: bool
    """Faces are needed here, and there are none."""
    label: str
    picture: str | None


@dataclass(frozen=True)
class GridMap:
    """Counts over two axes as shaded squares of `size` units, with tick labels."""

    title: str
    size: float
    cells: tuple[Cell, ...]
    columns: int
    rows: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    total: int


def shade(count: int, total: int) -> int:
    """0 for none, else 1..6 by the share of the total."""
    return sum(count > share * total for share in SHARES) if total and count else 0


def grid_map(
    title: str,
    counts: NDArray[np.int64],
    x_edges: NDArray[np.float64],
    y_edges: NDArray[np.float64],
    *,
    missing: NDArray[np.bool_] | None = None,
    names: tuple[str, str] = ("yaw", "pitch"),
    unit: str = "°",
    tick: float = 30.0,
    pictures: Mapping[tuple[int, int], str] | None = None,
    inside: NDArray[np.bool_] | None = None,
    size: float = 20.0,
) -> GridMap:
    """A map of counts (rows, columns), row 0 at the top.

    `missing` marks cells; `inside` says which exist.
    """
    total = int(counts.sum())
    cells = []
    for (row, column), number in np.ndenumerate(counts):
        if inside is not None and not inside[row, column]:
            continue
        x, y = x_edges[column : column + 2], y_edges[row : row + 2]
        where = f"{names[0]} {_span(x)}{unit}, {names[1]} {_span(y)}{unit}"
        lacks = missing is not None and bool(missing[row, column])
        found = (pictures or {}).get((row, column)) if number else None
        label = f"{where}: {number:,} of {total:,} faces"
        cells.append(Cell(column * size, row * size, shade(int(number), total), int(number), lacks, label, found))
    rows, columns = counts.shape
    return GridMap(
        title, size, tuple(cells), columns, rows, _ticks(x_edges, tick, size), _ticks(y_edges, tick, size), total
    )


def _span(edges: NDArray[np.float64]) -> str:
    low, high = sorted(edges.tolist())
    return f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def _ticks(edges: NDArray[np.float64], step: float, size: float) -> tuple[tuple[float, str], ...]:
    on = [i for i, e in enumerate(edges) if abs(e / step - round(e / step)) < 1e-6]
    return tuple((i * size, _number(float(edges[i]))) for i in on)


@dataclass(frozen=True)
class Bin:
    """One range of an axis."""

    x: float
    width: float
    count: int
    """Of the footage."""
    label: str
    picture: str | None


@dataclass(frozen=True)
class Bars:
    """Distributions on one axis: shares of faces in bins, the footage as an area, selection and target as lines."""

    width: int
    height: int
    footage: str
    """SVG path of a closed area."""
    selection: str
    """SVG path of a line."""
    target: str | None
    x_ticks: tuple[tuple[float, str], ...]
    bins: tuple[Bin, ...]


def bars(
    footage: NDArray[np.int64],
    selection: NDArray[np.int64],
    edges: NDArray[np.float64],
    ticks: Sequence[float],
    target: NDArray[np.int64] | None = None,
    pictures: Mapping[int, str] | None = None,
) -> Bars:
    """Counts (B,) in bins with (B + 1,) edges, all scaled to the highest peak of their shares."""
    width, height = 240, 64
    shares = [c / max(c.sum(), 1) for c in (footage, selection, target) if c is not None]
    top = max([1e-9, *(float(s.max()) for s in shares)])
    span = float(edges[-1] - edges[0])
    marks = tuple(((t - float(edges[0])) / span * width, f"{t:g}".replace("-", "−")) for t in ticks)
    lines = [_steps(s / top, width, height) for s in shares]
    each = width / len(footage)
    bins = tuple(
        Bin(i * each, each, int(n), _bin_label(i, footage, selection, edges, target), (pictures or {}).get(i))
        for i, n in enumerate(footage)
    )
    area, asked = f"M0,{height}L{lines[0]}L{width},{height}Z", f"M{lines[2]}" if target is not None else None
    return Bars(width, height, area, f"M{lines[1]}", asked, marks, bins)


def _bin_label(
    i: int,
    footage: NDArray[np.int64],
    selection: NDArray[np.int64],
    edges: NDArray[np.float64],
    target: NDArray[np.int64] | None,
) -> str:
    low, high = (f"{v:.3g}".replace("-", "−") for v in edges[i : i + 2])
    asked = "" if target is None else f", target {target[i]:,}"
    return f"{low} to {high}: footage {footage[i]:,}, selection {selection[i]:,}{asked} faces"


@dataclass(frozen=True)
class Curve:
    """Coverage over the number of faces, in a box of 600 x 150 units."""

    chosen: str
    """SVG path: as far as the selection goes."""
    more: str
    """SVG path: with more faces; empty where there are none."""
    x: float
    y: float
    """Where the selection ends."""
    last: int
    """Faces at the right edge."""
    gained: float
    """0..1, coverage that the faces beyond the selection would add."""


def curve(chosen: NDArray[np.floating], more: NDArray[np.floating]) -> Curve | None:
    """The chart of the coverage by the first 1..K faces and by the next ones; None for fewer than two in all."""
    values = np.concatenate([chosen, more])
    if len(values) < 2 or not len(chosen):
        return None

    def path(first: int, last: int) -> str:
        at = np.unique(np.linspace(first, last, min(last - first + 1, 240)).astype(int))
        return "M" + "L".join(f"{600 * (i + 1) / len(values):.1f},{150 * (1 - values[i]):.1f}" for i in at)

    end = len(chosen) - 1
    rest = path(end, len(values) - 1) if len(more) else ""
    x, y = 600 * len(chosen) / len(values), 150 * (1 - float(values[end]))
    return Curve(path(0, end), rest, x, y, len(values), float(values[-1] - values[end]))


def _steps(values: NDArray[np.float64], width: int, height: int) -> str:
    each = width / len(values)
    points = []
    for i, v in enumerate(values):
        y = height - v * (height - 2)
        points += [f"{i * each:.1f},{y:.1f}", f"{(i + 1) * each:.1f},{y:.1f}"]
    return "L".join(points)
