"""Forecasts of held-out quality: curves whose end is known, intervals that hold it, and the file that keeps them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.errors import UsageError, WorkError
from train.config import config_of
from train.forecast import FILE, check, forecast, keep, kept, step_after


def log(steps: int, seed: int, a: float = 0.9, b: float = 0.8, c: float = 0.6, noise: float = 0.004) -> pd.DataFrame:
    """A log with an evaluation every 20 steps, half a second a step."""
    at = np.arange(20, steps + 1, 20)
    values = a - b * (at / 20.0) ** -c + np.random.default_rng(seed).normal(0, noise, len(at))
    return pd.DataFrame({"step": at, "seconds": at * 0.5, "ssim_face_source": values, "ssim_face_target": values})


def test_the_interval_holds_what_comes() -> None:
    held, off = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = {"a": rng.uniform(0.7, 0.95), "b": rng.uniform(0.3, 0.8), "c": rng.uniform(0.3, 1.2)}
        made = forecast(log(200, seed, **shape), 600)
        came = shape["a"] - shape["b"] * 30 ** -shape["c"]
        held += made.low <= came <= made.high
        off.append(abs(made.ssim - came))
        assert made.low < made.ssim < made.high
    assert held >= 16 and np.median(off) < 0.02, (held, off)


def test_the_interval_is_wider_farther_away() -> None:
    near, far = (forecast(log(200, 1), at) for at in (220, 4000))
    assert far.high - far.low > near.high - near.low > 0.008
    assert near.seconds == pytest.approx(10) and near.cost is None
    assert forecast(log(200, 1), 7400, price=3.0).cost == pytest.approx(3.0)


def test_a_falling_learning_rate_counts() -> None:
    config = config_of("tiny", steps=600)
    assert forecast(log(200, 1), 600, config).ssim > forecast(log(200, 1), 600).ssim + 0.005
    assert forecast(log(600, 1), 900, config).ssim < forecast(log(600, 1), 900, None).ssim + 0.02


def test_a_curve_that_falls_is_not_expected_to_rise() -> None:
    falling = log(200, 0)
    falling["ssim_face_source"] = falling["ssim_face_target"] = np.linspace(0.8, 0.6, len(falling))
    assert forecast(falling, 600).ssim < 0.7


def test_what_cannot_be_said_is_an_error() -> None:
    with pytest.raises(UsageError, match="give a later step"):
        forecast(log(200, 0), 200)
    with pytest.raises(WorkError, match="2 evaluations"):
        forecast(log(40, 0), 200)
    with pytest.raises(WorkError, match="0 evaluations"):
        forecast(pd.DataFrame({"step": []}), 200)
    with pytest.raises(WorkError, match="pace"):
        step_after(pd.DataFrame({"step": [1.0]}), 1)
    assert step_after(log(200, 0), 0.5) == 200 + 3600


def test_forecasts_are_kept_and_compared(tmp_path: Path) -> None:
    first = forecast(log(200, 1), 400)
    for _ in range(2):
        keep(tmp_path, first)
    keep(tmp_path, forecast(log(200, 1).drop(columns="seconds"), 5000))
    found = check(kept(tmp_path), log(600, 1))
    assert [c.forecast.at for c in found] == [400, 5000]
    assert found[0].came == pytest.approx(float(log(600, 1)["ssim_face_source"].iloc[19])) and found[0].held
    assert found[1].came is None and found[1].held is None and math.isnan(found[1].forecast.seconds)
    assert json.loads((tmp_path / FILE).read_text())[1]["seconds"] is None
    for text in ("{", "[3]", '[{"at": "x"}]'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(WorkError, match="damaged"):
            kept(tmp_path)
