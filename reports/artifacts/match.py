"""How well a face matches its surroundings: a logistic regression on the detail of its regions. Arrays in, arrays out.

Coefficients: `benchmarks/fit_match.py`, which says what they were fitted on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reports.artifacts import temporal as t
from reports.artifacts.match_model import BIAS, MIDDLE, SPREAD, WEIGHTS
from reports.artifacts.texture import NAMES, REGIONS

Doubles = NDArray[np.float64]
SECONDS = 0.6
"""Window of the median over log-odds: a face that does not match does so for a while."""
SOFTEST = 0.42
"""Octaves by which the middle band of the ring's detail may exceed its finest: where the whole picture is softer than
that, nothing can be said about the face."""
FAINTEST = -0.5
"""Octaves of luma levels: a ring with less fine detail is flat or out of focus."""
MOST = 3.0
"""Standard deviations: features further from their mean count as this far."""


def features(texture: Doubles) -> Doubles:
    """(T, 24) features of (T, 24) values of `texture.NAMES`: each region's detail less the ring's, and the ring's own
    less its finest."""
    by_region = texture.reshape(len(texture), len(REGIONS), -1)
    ring = by_region[:, :1]
    apart = by_region[:, 1:] - ring
    slope = ring[:, :, :] - ring[:, :, :1]
    return np.asarray(np.concatenate([slope, apart], axis=1).reshape(len(texture), len(NAMES)))


def readable(texture: Doubles) -> NDArray[np.bool_]:
    """(T,) whether the picture around the face has detail enough for a comparison, and all features are known."""
    found = features(texture)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(found).all(1) & (found[:, 1] <= SOFTEST) & (texture[:, 0] >= FAINTEST))


def log_odds(texture: Doubles) -> Doubles:
    """(T,) log-odds, higher where the face matches less; NaN where nothing can be said."""
    scaled = np.clip((features(texture) - np.array(MIDDLE)) / np.array(SPREAD), -MOST, MOST)
    return np.where(readable(texture), scaled @ np.array(WEIGHTS) + BIAS, np.nan)


def unlike(texture: Doubles, fps: float) -> Doubles:
    """(T,) log-odds, median over SECONDS, for (T, 24) values of which every other row is known."""
    return t.running_median(t.hold_last(log_odds(texture)), 2 * round(SECONDS * fps / 2) + 1)
