"""What lies before the face (hands, hair, a microphone): where the target's decoder cannot give the target back.

How well it does where nothing is in the way is learnt from frames spread over the footage, pixel by pixel of the crop:
mouth and eyes are harder than cheeks. What is far worse than that is not the face. Nirkin et al. (FSGAN, 2019) train a
network for this; the trained autoencoder knows its target already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

FRAMES = 40
"""From which it is learnt."""
BLUR = 1 / 40
"""Of the crop's side: the error's Gaussian."""
LEAST = 0.07
"""Error, of 1, that may be hidden by nothing at all: an untrained network fails everywhere."""
SPREADS = 6.0
MOST = 0.4
"""Share of the face: if more seems hidden the network fails, and all of it is shown."""


@dataclass(frozen=True)
class Typical:
    """The error where nothing is in the way."""

    middle: Floats
    """(S, S) median."""
    spread: Floats
    """(S, S) median absolute deviation, as a standard deviation."""


def error(given: Floats, footage: Floats) -> Floats:
    """(S, S) blurred difference of the target as its decoder gives it back from the footage's crop, both in 0..1."""
    sigma = BLUR * len(footage)
    return np.asarray(cv2.GaussianBlur(np.abs(given - footage).mean(axis=2), (0, 0), sigma), np.float32)


def learn(errors: Sequence[Floats]) -> Typical | None:
    """From errors (S, S) of frames spread over the footage; None of fewer than eight."""
    if len(errors) < 8:
        return None
    stacked = np.stack(errors)
    middle = np.median(stacked, axis=0)
    spread = 1.4826 * np.median(np.abs(stacked - middle), axis=0)
    blurred = [cv2.GaussianBlur(x.astype(np.float32), (0, 0), BLUR * len(x)) for x in (middle, spread)]
    return Typical(*(np.asarray(b, np.float32) for b in blurred))


def visible(seen: Floats, typical: Typical, mask: Floats) -> NDArray[np.float32]:
    """(S, S) in 0..1, 0 where something lies before the face; `mask` (S, S) is where the face is."""
    limit = np.maximum(typical.middle + SPREADS * typical.spread, typical.middle + LEAST)
    hidden = np.clip((seen - limit) / (0.5 * LEAST), 0, 1) * (mask > 0.05)
    if hidden.sum() > MOST * max(float((mask > 0.05).sum()), 1.0):
        return np.ones_like(seen)
    reach = max(round(BLUR * len(seen)), 1)
    grown = cv2.dilate(hidden.astype(np.float32), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.asarray(1 - cv2.GaussianBlur(grown, (0, 0), reach / 2 + 0.5), np.float32)
