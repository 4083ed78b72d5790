from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from reports.training.figures import sentence
from train.config import TrainConfig
from train.schedule import latest_cooling, should_cool
from train.trend import on_plateau, quality, tidy, trend


def log_of(values: list[float], length: int = 1000, dssim: list[float] | None = None) -> pd.DataFrame:
    """Held-out SSIM of both sides at even steps, and what training saw."""
    steps = np.linspace(length / len(values), length, len(values))
    log = pd.DataFrame({"step": steps, "ssim_face_source": values, "ssim_face_target": values, "seconds": 2 * steps})
    return log if dssim is None else log.assign(dssim_source=dssim, dssim_target=dssim)


def test_a_log_is_put_in_order_and_what_is_not_a_number_is_unknown() -> None:
    log = tidy(pd.DataFrame({"step": [20, 10, 20, np.nan], "loss": [1.0, np.inf, "3", 4.0], "note": list("abcd")}))
    assert log["step"].tolist() == [10, 20]
    assert math.isnan(log["loss"][0]) and log["loss"][1] == 3
    assert tidy(pd.DataFrame()).empty and tidy(pd.DataFrame({"loss": [1.0]})).empty


def test_quality_is_read_under_the_mask_and_over_the_crop_where_that_is_all_there_is() -> None:
    log = tidy(log_of([0.4, np.nan, 0.8]).assign(ssim_face_target=[0.6, np.nan, np.nan], ssim=0.1))
    assert quality(log).values.tolist() == [0.5, 0.8]
    whole = quality(log.drop(columns=["ssim_face_source", "ssim_face_target"]))
    assert whole.values.tolist() == [0.1] * 3 and not whole.masked
    assert not len(quality(log[["step"]]).steps)


def test_a_rising_curve_rises() -> None:
    found = trend(tidy(log_of(list(np.linspace(0.5, 0.8, 30)))))
    assert found.state == "rises"
    assert found.change == pytest.approx(0.06, abs=0.011)
    assert "is 0.79 and still rising: +0.05" in sentence(found, 1000, 0.1)


def test_a_curve_that_got_there_is_flat_since_then() -> None:
    found = trend(tidy(log_of([*np.linspace(0.5, 0.8, 10), *[0.8] * 20], 30_000)))
    assert found.state == "flat"
    assert 8_000 <= found.since <= 11_000
    assert f"flat at 0.80 since step {found.since:,}" in sentence(found, 30_000, 0.1)


def test_jitter_is_hardly_ever_a_trend() -> None:
    runs = [0.8 + np.random.default_rng(seed).normal(0, 0.01, 60) for seed in range(40)]
    assert sum(trend(tidy(log_of(list(values)))).state == "flat" for values in runs) >= 38


def test_held_out_falls_while_training_falls_on_is_overfitting() -> None:
    held = [*np.linspace(0.6, 0.84, 20), *np.linspace(0.84, 0.78, 20)]
    found = trend(tidy(log_of(held, 40_000, dssim=list(np.linspace(0.2, 0.02, 40)))))
    assert found.state == "overfits"
    assert 18_000 <= found.since <= 22_000
    words = sentence(found, 40_000, 0.1)
    assert words.startswith("The network overfits") and "fell from 0.84" in words
    both = trend(tidy(log_of(held, dssim=[*np.linspace(0.2, 0.1, 20), *np.linspace(0.1, 0.3, 20)])))
    assert both.state == "falls" and "is not falling either" in sentence(both, 1000, 0.1)
    assert trend(tidy(log_of(held))).state == "falls"  # nothing is known of the training's loss


@pytest.mark.parametrize(("shape", "flat"), [("rises", False), ("flat", True), ("falls", True), ("short", False)])
def test_a_plateau_is_distinguished_from_progress(shape: str, flat: bool) -> None:
    steps = np.arange(100, 100 + 100 * (5 if shape == "short" else 30), 100)
    done = steps / steps[-1]
    quality = {"rises": 0.6 + 0.3 * done, "flat": 0.9 - 0.3 * np.exp(-9 * done), "short": np.full(len(steps), 0.8)}
    quality["falls"] = 0.9 - 0.3 * np.abs(done - 0.5)
    values = quality[shape] + np.random.default_rng(0).normal(0, 1e-4, len(steps))
    log = pd.DataFrame({"step": steps, "ssim_face_source": values, "ssim_face_target": values, "loss": 1 - values})
    assert on_plateau(log) == flat


def test_a_performance_that_still_rises_is_no_plateau() -> None:
    done = np.linspace(1 / 30, 1, 30)
    flat = 0.9 - 0.3 * np.exp(-9 * done)
    log = pd.DataFrame({"step": 3000 * done, "ssim_face_source": flat, "ssim_face_target": flat, "loss": 1 - flat})
    assert on_plateau(log)
    assert not on_plateau(log.assign(follows=0.2 + 0.6 * done))
    assert on_plateau(log.assign(follows=flat)) and on_plateau(log.assign(follows=np.nan))


def test_the_cool_down_begins_on_a_plateau_and_at_the_latest_step(config: TrainConfig) -> None:
    rising, flat = (log_of(values) for values in (list(np.linspace(0.5, 0.8, 30)), [0.8] * 30))
    assert [should_cool(config, 1, log) for log in (rising, flat)] == [False, True]
    assert should_cool(config, latest_cooling(config), rising)
