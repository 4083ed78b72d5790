"""Clarity of a side's footage, and how far its inputs are degraded to match the target's footage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from curate.face import align
from curate.options import option_of
from curate.settings import Framing
from train.augment import Limits
from train.config import TrainConfig

CLARITY = ("Sharpness", "CompressionArtifacts")
"""Scores that measure how clear footage is."""
SCORED = 256
"""Side of the full-framing crop on which they are measured, pixels."""
MOST_BLUR = option_of(TrainConfig, "blur").high or 0.0
BLOCKINESS = 0.7
"""CompressionArtifacts that JPEG adds per unit of strength: the median of five photos at qualities 70 to 20. They lie
between 0.2 and 1.2, higher where there is less fine detail."""
HARSHEST = 0.7
"""Strongest compression used to match the footage: at the network's size, a block mostly covers a larger part of the
face than in the footage."""


def clarity(rows: pd.DataFrame) -> dict[str, float]:
    """Medians of the scores in `CLARITY`; NaN where no row has a value."""
    return {name: float(rows[name].astype(np.float64).median()) for name in CLARITY}


def matched(
    config: TrainConfig, own: Mapping[str, float], footage: Mapping[str, float], framing: Framing = "full"
) -> Limits:
    """Limits of blur and compression at which a side's degraded faces are about as clear as the target's footage.

    `own` and `footage` are their `clarity`. Where the amplitude falls as one over the frequency, as in most pictures,
    the gradients behind a Gaussian of width w have energy 1 / w^2, so that Sharpness (widths 1 and 3 px) of a picture
    blurred by s is log(8 / (1 + s^2)): the difference of two s^2 is the blur between them (in five photos at most
    35 % off from 1 px on). Blur and compression are drawn evenly from 0 to their limits: these are raised so that the
    mean squared blur, and the mean strength, rise by the difference. A limit of 0 stays, as does one where the footage
    is clearer or a median is not known.
    """
    sharp, blocky = (own.get(name, np.nan) for name in CLARITY)
    soft, coarse = (footage.get(name, np.nan) for name in CLARITY)
    squared = 8 * max(float(np.nan_to_num(np.exp(-soft) - np.exp(-sharp))), 0.0)
    share = np.sqrt(squared) / SCORED * align.FRAMES["full"][0] / align.FRAMES[framing][0]
    harsher = max(float(np.nan_to_num(coarse - blocky)), 0.0) / BLOCKINESS
    blur, strength = float(np.hypot(config.blur, np.sqrt(3) * share)), config.compress + 2 * harsher
    return Limits(
        blur=max(config.blur, min(blur, MOST_BLUR)) if config.blur else 0.0,
        compress=max(config.compress, min(strength, HARSHEST)) if config.compress else 0.0,
    )
