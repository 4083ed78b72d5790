"""Figures of a training report: its held-out quality and trend as it is given them, and the time per hundredth of SSIM.

Nothing here judges a run: `train.trend` does, and fills `Quality` and `Trend`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.page.curves import decimal

Doubles = NDArray[np.float64]
SIDES = ("source", "target")
RECENT = 8
"""Points of quality that are listed one by one; earlier ones in steps of five."""


def column(log: pd.DataFrame, name: str) -> Doubles:
    """(N,) a column of a log; NaN throughout where it is missing."""
    return log[name].to_numpy(np.float64) if name in log else np.full(len(log), np.nan)


def last(log: pd.DataFrame, name: str) -> float:
    """The last known value of a column; NaN if there is none."""
    values = column(log, name)
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else math.nan


@dataclass(frozen=True)
class Quality:
    """Held-out SSIM over steps, mean of both sides."""

    steps: Doubles
    """(N,) steps of the evaluations, in order."""
    values: Doubles
    """(N,) SSIM, -1..1."""
    masked: bool
    """Measured under the face mask, not over the whole crop."""


@dataclass(frozen=True)
class Trend:
    """Trend of the held-out quality at the end of a log."""

    state: str
    """none (no evaluation), short (too few), rises, flat, falls, overfits."""
    level: float = math.nan
    """SSIM at the end."""
    change: float = math.nan
    """Change of SSIM over the last fifth of the steps."""
    since: int = 0
    """Step since which it is flat, or at which it was best."""
    best: float = math.nan
    """Best SSIM, if it falls."""
    training: float = math.nan
    """Relative change of the training loss since then; NaN if unknown."""


def sentence(trend: Trend, step: int, loss: float) -> str:
    """The trend as a sentence; the one of "flat" has no full stop, so that advice can follow."""
    level = decimal(trend.level)
    match trend.state:
        case "none" if not step:
            return "Nothing has been logged yet."
        case "none":
            return f"Held-out faces have not been evaluated yet (step {step:,}, loss {decimal(loss, 3)})."
        case "short":
            return f"Held-out SSIM is {level} at step {step:,}. It is too early to see a trend."
        case "rises":
            return (
                f"Held-out SSIM is {level} and still rising: +{_change(trend.change)} over the last fifth of the run."
            )
        case "overfits":
            return (
                f"The network overfits: held-out SSIM fell from {decimal(trend.best)} at step {trend.since:,} "
                f"to {level} while the training loss kept falling."
            )
        case "falls":
            known = " The training loss is not falling either." if math.isfinite(trend.training) else ""
            return f"Held-out SSIM fell from {decimal(trend.best)} at step {trend.since:,} to {level}.{known}"
    return f"Held-out SSIM has been flat at {level} since step {trend.since:,}. More steps will gain little"


def _change(value: float) -> str:
    return decimal(value, 2 if abs(value) >= 0.0095 else 3)


@dataclass(frozen=True)
class Point:
    """The moment at which held-out quality first reached a hundredth of SSIM."""

    ssim: float
    step: float
    seconds: float
    """Training time until then."""
    took: float
    """Seconds since the hundredth before; NaN for the first."""
    hours: float
    """Device hours until then."""
    cost: float
    """Money until then."""
    paid: float
    """Money for this hundredth alone."""


def points(log: pd.DataFrame, quality: Quality) -> list[Point]:
    """A point for each 0.01 that was reached, interpolated linearly between evaluations; `log` is tidy."""
    if len(quality.values) < 2:
        return []
    record = np.maximum.accumulate(quality.values)
    levels = np.arange(math.ceil(100 * record[0] - 1e-9), math.floor(100 * record[-1] + 1e-9) + 1) / 100
    after = np.clip(np.searchsorted(record, levels - 1e-12), 0, len(record) - 1)
    before = np.maximum(after - 1, 0)
    rise = np.where(after > before, record[after] - record[before], 1.0)
    share = np.clip((levels - record[before]) / np.where(rise > 0, rise, 1.0), 0, 1)
    steps = quality.steps[before] + share * (quality.steps[after] - quality.steps[before])
    seconds, hours, cost = (_at(log, name, steps) for name in ("seconds", "device_hours", "cost"))
    took, paid = (np.diff(v, prepend=np.nan) for v in (seconds, cost))
    rows = np.stack([levels, steps, seconds, took, hours, cost, paid], axis=1)
    return [Point(*row) for row in rows.tolist()]


def compact(found: list[Point]) -> list[Point]:
    """The last RECENT points, and every fifth hundredth of those before them."""
    return [p for i, p in enumerate(found) if i >= len(found) - RECENT or round(100 * p.ssim) % 5 == 0]


def _at(log: pd.DataFrame, name: str, steps: Doubles) -> Doubles:
    """(M,) a column at steps (M,), interpolated between the log's lines; NaN where it is unknown."""
    values, at = column(log, name), column(log, "step")
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(steps), np.nan)
    return np.asarray(np.interp(steps, at[known], values[known]), np.float64)
