"""Trend of a run's held-out quality: whether it still rises, is flat, falls, or the network overfits.

The one definition: the schedule ends a run by it, and the training report is given its figures.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from reports.training.figures import Doubles, Quality, Trend, column

MIN_CHANGE = 0.005
"""Smallest change of SSIM that counts."""
MIN_FOR_TREND = 5
"""Evaluations needed for a trend."""
STOPPED = ("flat", "falls", "overfits")
"""States of a quality that no longer rises."""
MIN_FOR_PLATEAU = 8
"""Evaluations needed before a run may end."""
MIN_FOR_SMOOTHING = 15
"""Evaluations from which on the curve is smoothed over five of them."""


def tidy(log: pd.DataFrame) -> pd.DataFrame:
    """Log lines that have a step, in order, each step once (its last line wins); all columns float64."""
    if "step" not in log or log.empty:
        return pd.DataFrame({"step": np.zeros(0)})
    numbers: pd.DataFrame = log.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    known = numbers.replace([np.inf, -np.inf], np.nan).dropna(subset=["step"]).drop_duplicates("step", keep="last")
    return known.sort_values("step", ignore_index=True)


def quality(log: pd.DataFrame) -> Quality:
    """Held-out SSIM in a tidy log, mean of both sides: under the face mask, or over the crop if only that is logged."""
    for names, masked in ((("ssim_face_source", "ssim_face_target"), True), (("ssim",), False)):
        values = _mean(log, names)
        known = np.isfinite(values)
        if known.any():
            return Quality(column(log, "step")[known], values[known], masked)
    return Quality(np.zeros(0), np.zeros(0), True)


def trend(log: pd.DataFrame) -> Trend:
    """Trend of `quality` in a tidy log.

    A change counts if it exceeds MIN_CHANGE and twice the standard error that the values' own jitter gives it.
    """
    curve = quality(log)
    steps, values = curve.steps, curve.values
    if not len(values):
        return Trend("none")
    if len(values) < MIN_FOR_TREND:
        return Trend("short", float(values[-1]))
    width = 3 if len(values) >= MIN_FOR_SMOOTHING else 1
    smooth = pd.Series(values).rolling(2 * width - 1, center=True, min_periods=1).median().to_numpy()
    level = float(values[-width:].mean())
    change = level - float(smooth[max(int(np.searchsorted(steps, 0.8 * steps[-1], "right")) - 1, 0)])
    error = _jitter(values) * math.sqrt(2 / width)
    top = int(smooth.argmax())
    best, since = float(smooth[top]), int(steps[top])
    if best - level >= max(MIN_CHANGE, 4 * error):  # 4: the best of many values is high by chance too
        loss_change = _loss_change(log, since)
        state = "overfits" if loss_change <= -0.01 else "falls"
        return Trend(state, level, change, since, best, loss_change)
    least = max(MIN_CHANGE, 2 * error)
    if change >= least:
        return Trend("rises", level, change)
    below = np.flatnonzero(smooth < level - least)
    return Trend("flat", level, change, int(steps[below[-1] + 1 if len(below) else 0]))


def on_plateau(log: pd.DataFrame) -> bool:
    """Whether held-out quality in a log has stopped rising: flat over the last fifth of the steps, or falling.

    If the performance of swaps is measured, it has to have stopped too.
    """
    tidied = tidy(log)
    evaluations = np.isfinite(column(tidied, "ssim_face_source")).sum()
    if evaluations < MIN_FOR_PLATEAU or trend(tidied).state not in STOPPED:
        return False
    follows = column(tidied, "follows")
    return not np.isfinite(follows).any() or trend(_in_place_of_ssim(tidied, follows)).state in STOPPED


def _in_place_of_ssim(log: pd.DataFrame, values: Doubles) -> pd.DataFrame:
    """The log with other values as its held-out quality, to find their trend."""
    return log.assign(ssim_face_source=values, ssim_face_target=values)


def _jitter(values: Doubles) -> float:
    """Standard deviation of one value about its neighbours', over the later half: by second differences."""
    late = np.diff(values[len(values) // 2 :], n=2)
    return 1.4826 * float(np.median(np.abs(late))) / math.sqrt(6) if len(late) else 0.0


def _loss_change(log: pd.DataFrame, step: int) -> float:
    """Relative change of the training loss from about `step` to the end; NaN if unknown.

    The loss is the DSSIM of the faces that are trained on, mean of both sides, or the total where that is not logged.
    """
    dssim = _mean(log, ("dssim_source", "dssim_target"))
    values = dssim if np.isfinite(dssim).any() else column(log, "loss")
    known = np.isfinite(values)
    values, steps = values[known], column(log, "step")[known]
    if len(values) < 4:
        return math.nan
    reach = 0.05 * float(steps[-1])
    then, now = values[np.abs(steps - step) <= reach], values[steps >= steps[-1] - 2 * reach]
    return float(np.median(now) / np.median(then) - 1) if len(then) and np.median(then) > 0 else math.nan


def _mean(log: pd.DataFrame, names: tuple[str, ...]) -> Doubles:
    """(N,) mean of columns of a tidy log over those that are known."""
    return pd.DataFrame({n: column(log, n) for n in names}).mean(axis=1).to_numpy(np.float64)
