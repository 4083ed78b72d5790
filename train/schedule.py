"""Learning rate of a step, and the step at which a run ends."""

from __future__ import annotations

import math

import pandas as pd

from train.config import TrainConfig
from train.trend import on_plateau

COOL = 0.15
"""Length of the cool-down as a share of the steps before it (10 to 20 % in Hägele et al. 2024, arXiv:2405.18392)."""

RAMP = 0.2
"""Share of the last phase over which the adversarial loss comes in."""


def rate(config: TrainConfig, step: int, cooling: int | None = None) -> float:
    """Learning rate of step `step`, counted from 0.

    Linear warm-up, then half a cosine to the last step. With `--stop auto` the last step is unknown: the rate stays
    constant until the step `cooling`, then falls as 1 - sqrt (Hägele et al. 2024).
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


def last_phase(config: TrainConfig, cooling: int | None = None) -> int:
    """First step, counted from 0, of the last phase, which has no warp; `steps` if there is none."""
    if not config.phases:
        return config.steps
    if config.stop == "auto":
        return config.steps if cooling is None else cooling + 1  # the batch of `cooling` was prepared before
    return round(config.steps * (1 - config.phases))


def adversarial(config: TrainConfig, step: int, cooling: int | None = None) -> float:
    """Weight of the adversarial loss in step `step`: with phases it rises over the first RAMP of the last one."""
    if not config.phases:
        return config.adversarial_weight
    begun = last_phase(config, cooling)
    length = RAMP * max(1, end(config, cooling) - begun)
    return config.adversarial_weight * min(1.0, max(0.0, (step - begun) / length))


def latest_cooling(config: TrainConfig) -> int:
    """The step at which the cool-down begins if no plateau was found before."""
    return round(config.steps / (1 + COOL))


def end(config: TrainConfig, cooling: int | None) -> int:
    """Last step of the run, as far as it is known."""
    if config.stop != "auto" or cooling is None:
        return config.steps
    return min(config.steps, cooling + max(1, math.ceil(COOL * cooling)))


def should_cool(config: TrainConfig, step: int, log: pd.DataFrame) -> bool:
    """Whether the cool-down of `--stop auto` begins at this step: on a plateau in the log, or at the latest step."""
    return step >= latest_cooling(config) or on_plateau(log)
