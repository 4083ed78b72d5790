"""What the log of a training says: where held-out quality goes, and what each point of it took."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.page.curves import decimal

Doubles = NDArray[np.float64]
SIDES = ("source", "target")
RISE = 0.005
"""SSIM that counts as a change."""
FEWEST = 5
"""Measurements before a trend is told."""
RECENT = 8
"""Points of quality that are listed one by one; earlier ones in steps of five."""


def tidy(log: pd.DataFrame) -> pd.DataFrame:
    """Lines with a step, in order, each step once (its last line); all columns float."""
    if "step" not in log or log.empty:
        return pd.DataFrame({"step": np.zeros(0)})
    numbers: pd.DataFrame = log.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    known = numbers.replace([np.inf, -np.inf], np.nan).dropna(subset=["step"]).drop_duplicates("step", keep="last")
    return known.sort_values("step", ignore_index=True)


def column(log: pd.DataFrame, name: str) -> Doubles:
    """(N,) a column of a tidy log; NaN throughout where it is missing."""
    return log[name].to_numpy(np.float64) if name in log else np.full(len(log), np.nan)


def mean_of(log: pd.DataFrame, names: tuple[str, ...]) -> Doubles:
    """(N,) mean of columns of a tidy log over those that are known."""
    return pd.DataFrame({n: column(log, n) for n in names}).mean(axis=1).to_numpy(np.float64)


def last(log: pd.DataFrame, name: str) -> float:
    """The last known value of a column; NaN if there is none."""
    values = column(log, name)
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else math.nan


@dataclass(frozen=True)
class Quality:
    """Held-out SSIM over steps, mean of both sides."""

    steps: Doubles
    values: Doubles
    masked: bool
    """Under the face's mask, not over the whole crop."""


def quality(log: pd.DataFrame) -> Quality:
    """Of a tidy log: under the mask where that was measured."""
    for names, masked in ((("ssim_face_source", "ssim_face_target"), True), (("ssim",), False)):
        values = mean_of(log, names)
        known = np.isfinite(values)
        if known.any():
            return Quality(column(log, "step")[known], values[known], masked)
    return Quality(np.zeros(0), np.zeros(0), True)


@dataclass(frozen=True)
class Trend:
    """Where held-out quality goes."""

    state: str
    """none, short (too few to tell), rises, flat, falls, overfits."""
    level: float = math.nan
    """SSIM at the end."""
    change: float = math.nan
    """Over the last fifth of the steps."""
    since: int = 0
    """Step since which it is flat, or at which it was best."""
    best: float = math.nan
    training: float = math.nan
    """Change of the training loss since then, as a share; NaN if unknown."""


def trend(log: pd.DataFrame) -> Trend:
    """Of a tidy log. A change counts when it is above RISE and above twice the error from the values' own jitter."""
    found = quality(log)
    steps, values = found.steps, found.values
    if not len(values):
        return Trend("none")
    if len(values) < FEWEST:
        return Trend("short", float(values[-1]))
    width = 3 if len(values) >= 15 else 1
    smooth = pd.Series(values).rolling(2 * width - 1, center=True, min_periods=1).median().to_numpy()
    level = float(values[-width:].mean())
    start = max(int(np.searchsorted(steps, 0.8 * steps[-1], "right")) - 1, 0)
    change = level - float(smooth[start])
    least = max(RISE, 2 * _jitter(values) * math.sqrt(2 / width))
    top = int(smooth.argmax())
    best, since = float(smooth[top]), int(steps[top])
    if best - level >= max(RISE, 4 * _jitter(values) * math.sqrt(2 / width)):  # the best of many is so by chance too
        falls = _training(log, since)
        return Trend("overfits" if falls <= -0.01 else "falls", level, change, since, best, falls)
    if change >= least:
        return Trend("rises", level, change)
    below = np.flatnonzero(smooth < level - least)
    return Trend("flat", level, change, int(steps[below[-1] + 1 if len(below) else 0]))


def _jitter(values: Doubles) -> float:
    """Standard deviation of one value about its neighbours', over the later half: by second differences."""
    late = np.diff(values[len(values) // 2 :], n=2)
    return 1.4826 * float(np.median(np.abs(late))) / math.sqrt(6) if len(late) else 0.0


def training_loss(log: pd.DataFrame) -> Doubles:
    """(N,) DSSIM of the faces that are trained on, mean of both sides; the whole loss where that is not logged."""
    dssim = mean_of(log, ("dssim_source", "dssim_target"))
    return dssim if np.isfinite(dssim).any() else column(log, "loss")


def _training(log: pd.DataFrame, step: int) -> float:
    """Change of the training loss from about `step` to the end, as a share of it."""
    values, steps = training_loss(log), column(log, "step")
    known = np.isfinite(values)
    values, steps = values[known], steps[known]
    if len(values) < 4:
        return math.nan
    reach = 0.05 * float(steps[-1])
    then, now = values[np.abs(steps - step) <= reach], values[steps >= steps[-1] - 2 * reach]
    return float(np.median(now) / np.median(then) - 1) if len(then) and np.median(then) > 0 else math.nan


def sentence(found: Trend, step: int, loss: float) -> str:
    """The trend in words."""
    level = decimal(found.level)
    match found.state:
        case "none" if not step:
            return "Nothing is logged yet."
        case "none":
            return f"No held-out face is measured yet: step {step:,}, loss {decimal(loss, 3)}."
        case "short":
            return f"Held-out quality is {level} at step {step:,}: too early to say where it goes."
        case "rises":
            return f"Held-out quality still rises: {level}, up {_change(found.change)} over the last fifth."
        case "overfits":
            return (
                f"It overfits: held-out quality fell from {decimal(found.best)} at step {found.since:,} to {level}, "
                "while the training loss fell on."
            )
        case "falls":
            known = " The training loss does not fall either." if math.isfinite(found.training) else ""
            return f"Held-out quality falls: {level}, from {decimal(found.best)} at step {found.since:,}.{known}"
    return f"Held-out quality is flat since step {found.since:,}, at {level}: more steps will add little"


def _change(value: float) -> str:
    return decimal(value, 2 if abs(value) >= 0.0095 else 3)


@dataclass(frozen=True)
class Point:
    """When held-out quality first reached a hundredth."""

    ssim: float
    step: float
    seconds: float
    took: float
    """Seconds since the hundredth before; NaN for the first."""
    hours: float
    """Device hours until then."""
    cost: float
    paid: float
    """For this hundredth alone."""


def points(log: pd.DataFrame) -> list[Point]:
    """Of a tidy log, for each .01 that was reached; read on a line between two measurements."""
    found = quality(log)
    if len(found.values) < 2:
        return []
    record = np.maximum.accumulate(found.values)
    levels = np.arange(math.ceil(100 * record[0] - 1e-9), math.floor(100 * record[-1] + 1e-9) + 1) / 100
    after = np.clip(np.searchsorted(record, levels - 1e-12), 0, len(record) - 1)
    before = np.maximum(after - 1, 0)
    rise = np.where(after > before, record[after] - record[before], 1.0)
    share = np.clip((levels - record[before]) / np.where(rise > 0, rise, 1.0), 0, 1)
    steps = found.steps[before] + share * (found.steps[after] - found.steps[before])
    seconds, hours, cost = (_at(log, name, steps) for name in ("seconds", "device_hours", "cost"))
    took, paid = (np.diff(v, prepend=np.nan) for v in (seconds, cost))
    rows = np.stack([levels, steps, seconds, took, hours, cost, paid], axis=1)
    return [Point(*row) for row in rows.tolist()]


def compact(found: list[Point]) -> list[Point]:
    """The last RECENT of them, and of those before every fifth hundredth."""
    return [p for i, p in enumerate(found) if i >= len(found) - RECENT or round(100 * p.ssim) % 5 == 0]


def _at(log: pd.DataFrame, name: str, steps: Doubles) -> Doubles:
    """(M,) a column at steps (M,), on a line between the log's lines; NaN where it is not known."""
    values, at = column(log, name), column(log, "step")
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(steps), np.nan)
    return np.asarray(np.interp(steps, at[known], values[known]), np.float64)
