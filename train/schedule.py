"""The learning rate of a step, and when a run ends."""

from __future__ import annotations

import math

import pandas as pd

from reports.training.figures import tidy, trend
from train.config import TrainConfig

COOL = 0.15
"""Steps of the cool-down as a share of those before it (10 to 20 % in Hägele et al. 2024, arXiv:2405.18392)."""
FEWEST_LOOKS = 8
"""Measurements before a plateau is believed."""


def rate(config: TrainConfig, step: int, cooling: int | None = None) -> float:
    """Learning rate of the step with this number, 0 the first.

    A straight rise; then half a cosine to the last step. With `--stop auto` the end is not known: the rate stays until
    the step `cooling`, then falls as 1 - sqrt (Hägele et al. 2024).
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.stop == "auto":
        begun = latest_cooling(config) if cooling is None else cooling
        done = min(1.0, max(0, step - begun) / max(1, end(config, cooling) - begun))
        shape = 1 - math.sqrt(done)
    else:
        done = min(1.0, max(0, step - config.warmup) / max(1, config.steps - config.warmup))
        shape = 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * rise * (config.final_lr + (1 - config.final_lr) * shape)


def latest_cooling(config: TrainConfig) -> int:
    """The step at which the cool-down begins where no plateau was found before."""
    return round(config.steps / (1 + COOL))


def end(config: TrainConfig, cooling: int | None) -> int:
    """Steps of the whole run, as far as is known."""
    if config.stop != "auto" or cooling is None:
        return config.steps
    return min(config.steps, cooling + max(1, math.ceil(COOL * cooling)))


def on_plateau(log: pd.DataFrame) -> bool:
    """Whether held-out quality has stopped rising: flat over the last fifth of the steps, or falling."""
    tidied = tidy(log)
    looks = tidied.get("ssim_face_source", pd.Series(dtype=float)).notna().sum()
    return bool(looks >= FEWEST_LOOKS) and trend(tidied).state in ("flat", "falls", "overfits")
