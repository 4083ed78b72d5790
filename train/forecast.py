"""Forecast of held-out quality: where a run's SSIM will be after more steps, with its interval, time and price.

The curve is quality = a - b * step^-c + g * cooled: a power law (they fit learning curves best among simple forms:
Viering and Loog 2022, arXiv:2103.10948) and a gain while the learning rate falls (Tissue et al. 2024,
arXiv:2408.11029), where `cooled` is the share of the peak rate by which it has fallen. What the start of a run cannot
tell about g comes from earlier runs. Every exponent c of a grid is fitted by least squares, and the forecasts are
averaged with weights of how well each fits, so that the interval also contains the doubt about the curve's form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import UsageError, WorkError
from curate.records import record
from curate.runtime.files import write_whole
from curate.safe_io import DAMAGED, one_line
from reports.training.figures import Doubles, column
from train.config import TrainConfig
from train.schedule import rate
from train.trend import quality, tidy

FILE = "forecasts.json"
LEAST = 5
"""Evaluations needed."""
SKIPPED = 0.1
"""Share of the steps so far whose evaluations are left out: a network that has just begun follows no curve."""
EXPONENTS = np.linspace(0.1, 2.0, 39)
JITTER = 0.004
"""SSIM: an evaluation is never taken to be more exact."""
GAIN = (0.03, 0.02)
"""SSIM that a falling learning rate adds in all, mean and standard deviation: three runs of `tiny`, 200 steps, on
public clips; judged on others by `benchmarks/forecast.py`."""
DRAWS = 4000


@dataclass(frozen=True)
class Forecast:
    """Held-out SSIM that is expected after some steps."""

    at: int
    """Step for which it is made."""
    made: int
    """Step of the last evaluation that it is made from."""
    ssim: float
    low: float
    high: float
    """The interval that holds it with 80 %."""
    seconds: float
    """Training time from `made` to `at`; NaN is stored as null."""
    cost: float | None
    """Price of that time; None without a price."""


@dataclass(frozen=True)
class Checked:
    """A forecast next to what came."""

    forecast: Forecast
    came: float | None
    """Held-out SSIM measured at that step or the first evaluation after it; None: not reached yet."""

    @property
    def held(self) -> bool | None:
        """Whether the interval holds what came."""
        return None if self.came is None else self.forecast.low <= self.came <= self.forecast.high


def forecast(log: pd.DataFrame, at: int, config: TrainConfig | None = None, price: float = 0.0) -> Forecast:
    """Forecast for step `at` from the lines of log.csv; with the run's configuration, its learning rate counts.

    If `at` is beyond the run's steps, the run is taken to be continued, and to end there. Raises UsageError for a
    step that is done, WorkError where the log has fewer than LEAST evaluations.
    """
    lines = tidy(log)
    curve = quality(lines)
    if len(curve.steps) < LEAST:
        raise WorkError(f"the run has {len(curve.steps)} evaluations; a forecast needs {LEAST}: train a little longer")
    made = int(curve.steps[-1])
    if at <= made:
        raise UsageError(f"--steps {at}: the run is at step {made}; give a later step")
    late = curve.steps >= SKIPPED * made
    if late.sum() < LEAST:
        late[-LEAST:] = True
    cooled = np.array([*(_cooled(config, step) for step in curve.steps[late]), _cooled(config, at)])
    low, middle, high = _quantiles(curve.steps[late], curve.values[late], float(at), cooled)
    seconds = (at - made) * _pace(lines)
    cost = seconds / 3600 * price if price else None
    return Forecast(at, made, middle, max(low, -1.0), min(high, 1.0), seconds, cost)


def _cooled(config: TrainConfig | None, step: float) -> float:
    """Share of the peak learning rate by which it has fallen at a step, 0..1."""
    if config is None or step <= config.warmup:
        return 0.0
    return 1 - rate(config, min(int(step), config.steps)) / config.lr


def _quantiles(steps: Doubles, values: Doubles, at: float, cooled: Doubles) -> tuple[float, float, float]:
    """10 %, 50 % and 90 % of what is expected at a step; `cooled` (N + 1,) is that of the steps, then of `at`."""
    scaled, later = steps / steps[-1], at / steps[-1]
    means, errors, logs = [], [], []
    for exponent in EXPONENTS:
        design = np.stack([np.ones(len(scaled)), -(scaled**-exponent), cooled[:-1]], axis=1)
        row = np.array([1.0, -(later**-exponent), cooled[-1]])
        mean, error, rest, fits = _fit(design, values, row)
        means.append(mean)
        errors.append(error)
        logs.append(-0.5 * rest if fits else -np.inf)
    if not np.isfinite(logs).any():  # it falls: no such curve
        level, error = float(np.median(values[-3:])), float(np.std(values[-LEAST:]) + JITTER)
        return level - 1.28 * error, level, level + 1.28 * error
    weights = np.exp(np.array(logs) - np.max(logs))
    rng = np.random.default_rng(0)
    which = rng.choice(len(means), DRAWS, p=weights / weights.sum())
    drawn = np.array(means)[which] + np.array(errors)[which] * rng.standard_normal(DRAWS)
    low, middle, high = np.quantile(drawn, (0.1, 0.5, 0.9))
    return float(low), float(middle), float(high)


def _fit(design: Doubles, values: Doubles, row: Doubles) -> tuple[float, float, float, bool]:
    """Least squares with GAIN as what is known of the last coefficient: expected value and error at `row`, misfit.

    The misfit is in squared units of an evaluation's error. False: no curve that rises to at most 1.
    """
    noise = max(_jitter(values), JITTER)
    known = np.zeros((1, 3))
    known[0, 2] = noise / GAIN[1]
    full, wanted = np.vstack([design, known]), np.append(values, GAIN[0] * noise / GAIN[1])
    solved, *_ = np.linalg.lstsq(full, wanted, rcond=None)
    rest = float(np.square(wanted - full @ solved).sum()) / noise**2
    spread = float(row @ np.linalg.pinv(full.T @ full) @ row)
    return float(row @ solved), noise * math.sqrt(1 + spread), rest, bool(solved[1] >= 0 and row @ solved <= 1)


def _jitter(values: Doubles) -> float:
    """Standard deviation of an evaluation about its neighbours'."""
    return float(np.median(np.abs(np.diff(values, n=2)))) * 1.4826 / math.sqrt(6)


def _pace(lines: pd.DataFrame) -> float:
    """Seconds per step over the second half of the log; NaN if unknown."""
    steps, seconds = column(lines, "step"), column(lines, "seconds")
    known = np.isfinite(seconds)
    steps, seconds = steps[known], seconds[known]
    if len(steps) < 2:
        return math.nan
    half = min(int(np.searchsorted(steps, steps[-1] / 2)), len(steps) - 2)
    return float((seconds[-1] - seconds[half]) / (steps[-1] - steps[half]))


def step_after(log: pd.DataFrame, hours: float) -> int:
    """The step that is reached after so many more hours. Raises WorkError where the pace is not known yet."""
    lines = tidy(log)
    pace = _pace(lines)
    if not pace > 0:
        raise WorkError("the run's pace is not known yet: train a little longer")
    return int(column(lines, "step")[-1] + 3600 * hours / pace)


def read_log(run: Path) -> pd.DataFrame:
    """The lines of a run's log.csv. Raises WorkError where there is none or it is damaged."""
    path = run / "log.csv"
    if not path.is_file():
        raise WorkError(f"{path}: no such file; give the folder of a run that has begun")
    try:
        return pd.read_csv(path)
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): train again in a new folder") from None


def keep(run: Path, made: Forecast) -> None:
    """Add a forecast to the run's file; one for the same step from the same evaluations is replaced."""
    others = [f for f in kept(run) if (f.at, f.made) != (made.at, made.made)]
    rows = [asdict(f) | {"seconds": f.seconds if math.isfinite(f.seconds) else None} for f in (*others, made)]
    write_whole(run / FILE, json.dumps(rows, indent=1, allow_nan=False).encode())


def kept(run: Path) -> tuple[Forecast, ...]:
    """The forecasts that a run's folder has. Raises WorkError where the file is damaged."""
    path = run / FILE
    if not path.is_file():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            record(Forecast, {**row, "seconds": math.nan if row["seconds"] is None else row["seconds"]}) for row in rows
        )
    except DAMAGED as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): delete it") from None


def check(forecasts: Sequence[Forecast], log: pd.DataFrame) -> tuple[Checked, ...]:
    """The forecasts next to what came."""
    curve = quality(tidy(log))
    found = []
    for each in forecasts:
        at = int(np.searchsorted(curve.steps, each.at))
        found.append(Checked(each, float(curve.values[at]) if at < len(curve.steps) else None))
    return tuple(found)
