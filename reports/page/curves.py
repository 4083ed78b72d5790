"""Geometry of line charts over steps: numbers in, coordinates out. The drawing is `templates/lines.html`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
POINTS = 300
"""A line has so many points at most; more are averaged in stretches of steps."""
COLUMNS = 100
"""Places of a chart at which its values can be read, at most."""
APART = 13.0
"""Units between two labels at the lines' ends."""


@dataclass(frozen=True)
class Series:
    """One line: values (N,) at steps (N,) in order; NaN is left out."""

    name: str
    style: str
    """a, b or c: colour and dashes, see page.css."""
    steps: Doubles
    values: Doubles


@dataclass(frozen=True)
class Line:
    """One drawn line and its label at the end."""

    style: str
    path: str
    x: float
    y: float
    label: str
    label_y: float


@dataclass(frozen=True)
class Column:
    """One place at which the values can be read."""

    x: float
    label: str
    dots: tuple[tuple[float, float, str], ...]
    """x, y, style."""


@dataclass(frozen=True)
class LineChart:
    """Lines over steps in a box of width x height units."""

    width: int
    height: int
    y_name: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    each: float
    """Width of a column."""
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    summary: str
    """The last values in words."""


def decimal(value: float, places: int = 2) -> str:
    """A number with fixed decimals: 0.83, −0.02, 1.20; a dash for NaN."""
    return f"{value:,.{places}f}".replace("-", "−") if math.isfinite(value) else "–"


def scientific(value: float) -> str:
    """Three digits of a number of any size: 0.0712, 12.3, 4.0e−5."""
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}".replace("e-0", "e−").replace("e+0", "e").replace("e-", "e−")
    return decimal(value, max(2 - math.floor(math.log10(abs(value))), 0)) if value and math.isfinite(value) else "0"


def short(value: float) -> str:
    """A round number without trailing zeros: 0.8, 1.5, 20,000, 5e−5."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−").replace("e+0", "e")
    return f"{round(value, 12):,.12f}".rstrip("0").rstrip(".").replace("-", "−")


def line_chart(
    series: Sequence[Series],
    y_name: str,
    say: Callable[[float], str] = scientific,
    tick: Callable[[float], str] = short,
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    width: int = 350,
    height: int = 160,
) -> LineChart | None:
    """The series as lines from step 0 to the last; None where no value is known.

    `say` and `tick` write a value and a tick. `log`: a logarithmic y axis. `limits`: its ends; None fits them.
    """
    known = [_known(s, log) for s in series]
    known = [s for s in known if len(s.steps)]
    if not known:
        return None
    last = max(float(s.steps[-1]) for s in known) or 1.0
    thin = [_thinned(s, last) for s in known]
    low, high = limits or _range(np.concatenate([s.values for s in thin]), log)
    marks = _log_ticks(low, high) if log else ticks(low, high, max(height // 32, 2))
    if limits is None and not log:
        low, high = marks[0], marks[-1]
    ends = [_scale(v, log) for v in (low, high)]

    def place(step: float, value: float) -> tuple[float, float]:
        up = (_scale(value, log) - ends[0]) / (ends[1] - ends[0])
        return step / last * width, height * (1 - min(max(up, 0.0), 1.0))

    columns, each = _columns(known, thin, last, width, say, place)
    return LineChart(
        width,
        height,
        y_name,
        _lines(known, thin, say, place, height),
        columns,
        each,
        tuple((v / last * width, short(v)) for v in ticks(0, last, 5) if v == round(v) and v <= last),
        tuple((place(0, v)[1], tick(v)) for v in marks if v <= high),
        ", ".join(f"{s.name} {say(float(s.values[-1]))}" for s in known),
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers around low..high, about so many: multiples of 1, 2 or 5 times a power of ten, at least two."""
    rough = max((high - low) / most, 1e-9 * max(abs(high), 1e-3))
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from low to high, or only the powers where those are many."""
    powers = [10.0**i for i in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * p for p in powers for f in factors if low * 0.999 <= f * p <= high * 1.001]
        if len(found) <= 6:
            break
    return found if len(found) > 1 else [low, high]


def _known(series: Series, log: bool) -> Series:
    fine = np.isfinite(series.values) & np.isfinite(series.steps) & ((series.values > 0) | (not log))
    return Series(series.name, series.style, series.steps[fine], series.values[fine])


def _thinned(series: Series, last: float) -> Series:
    """At most POINTS of it: means of stretches of steps."""
    if len(series.steps) <= POINTS:
        return series
    stretch = np.minimum(series.steps / last * POINTS, POINTS - 1).astype(np.int64)
    count = np.bincount(stretch)
    some = count > 0
    steps, values = (np.bincount(stretch, v)[some] / count[some] for v in (series.steps, series.values))
    return Series(series.name, series.style, steps, values)


def _range(values: Doubles, log: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if log:
        return low / 1.15, high * 1.15
    least = 1e-2 * max(abs(high), 1e-3)
    return (low, high) if high - low >= least else (low - least / 2, high + least / 2)


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else value


Place = Callable[[float, float], tuple[float, float]]


def _lines(
    known: Sequence[Series], thin: Sequence[Series], say: Callable[[float], str], place: Place, height: int
) -> tuple[Line, ...]:
    drawn = []
    for full, series in zip(known, thin, strict=True):
        points = [place(*p) for p in zip(series.steps.tolist(), series.values.tolist(), strict=True)]
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append((series.style, path, *points[-1], f"{series.name} {say(float(full.values[-1]))}".strip()))
    free = _apart([d[3] for d in drawn], float(height))
    return tuple(Line(*d, label_y) for d, label_y in zip(drawn, free, strict=True))


def _apart(at: list[float], height: float) -> list[float]:
    """Heights moved apart by APART or more, in the same order."""
    order = np.argsort(at, kind="stable")
    moved = np.array(at, np.float64)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + APART)
    over = max(float(moved.max()) - height, 0.0)
    return [float(v) for v in moved - over]


def _columns(
    known: Sequence[Series],
    thin: Sequence[Series],
    last: float,
    width: int,
    say: Callable[[float], str],
    place: Place,
) -> tuple[tuple[Column, ...], float]:
    """Columns of equal width about places from the first step to the last, each with the values nearest to it."""
    steps = np.unique(np.concatenate([s.steps for s in known]))
    count = min(len(steps), COLUMNS)
    places = np.linspace(steps[0], last, count) if count > 1 else np.array([last])
    each = width * float(places[1] - places[0]) / last if count > 1 else float(width)
    columns = []
    for middle in places.tolist():
        step = float(steps[np.abs(steps - middle).argmin()])
        found = [(s, int(np.abs(s.steps - step).argmin())) for s in thin]
        values = ", ".join(f"{s.name} {say(float(s.values[at]))}".strip() for s, at in found)
        dots = tuple((*place(float(s.steps[at]), float(s.values[at])), s.style) for s, at in found)
        columns.append(Column(middle / last * width - each / 2, f"step {step:,.0f}: {values}", dots))
    return tuple(columns), each
