"""Occlusion of the face (hands, hair, a microphone): where the target's decoder cannot reconstruct the target.

The error without occlusion is learned from frames spread over the footage, for each pixel of the crop: mouth and eyes
are harder than cheeks. Pixels with a much larger error are not the face. Nirkin et al. (FSGAN, 2019) train a network
for this; the trained autoencoder knows its target already. It also knows every hand that its training faces showed:
such a hand is reconstructed, and is not found. See "Occluders" in docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

FRAMES = 40
"""Frames from which the typical error is learned."""
BLUR = 1 / 40
"""Gaussian that smooths the error, as a fraction of the crop's side."""
LEAST = 0.07
"""Error, of 1, in excess of the typical one that never counts as occlusion: an untrained network fails everywhere."""
SPREADS = 6.0
"""Standard deviations above the typical error from which a pixel counts as occluded."""
MOST = 0.4
"""Fraction of the face: if more seems occluded, the network is failing, and the whole face is shown."""


@dataclass(frozen=True)
class Typical:
    """Typical error of the reconstruction without occlusion."""

    middle: Floats
    """(S, S) median."""
    spread: Floats
    """(S, S) median absolute deviation, as a standard deviation."""


def error(given: Floats, footage: Floats) -> Floats:
    """Reconstruction error (S, S): blurred difference of the decoder's target and the footage's crop, both in 0..1."""
    sigma = BLUR * len(footage)
    return np.asarray(cv2.GaussianBlur(np.abs(given - footage).mean(axis=2), (0, 0), sigma), np.float32)


def learn(errors: Sequence[Floats]) -> Typical | None:
    """Typical error, from errors (S, S) of frames spread over the footage; None if there are fewer than eight."""
    if len(errors) < 8:
        return None
    stacked = np.stack(errors)
    middle = np.median(stacked, axis=0)
    spread = 1.4826 * np.median(np.abs(stacked - middle), axis=0)
    blurred = [cv2.GaussianBlur(x.astype(np.float32), (0, 0), BLUR * len(x)) for x in (middle, spread)]
    return Typical(*(np.asarray(b, np.float32) for b in blurred))


def visible(seen: Floats, typical: Typical, mask: Floats) -> NDArray[np.float32]:
    """Visibility (S, S) in 0..1, 0 where the face is occluded; `mask` (S, S) covers the face."""
    limit = np.maximum(typical.middle + SPREADS * typical.spread, typical.middle + LEAST)
    hidden = np.clip((seen - limit) / (0.5 * LEAST), 0, 1) * (mask > 0.05)
    if hidden.sum() > MOST * max(float((mask > 0.05).sum()), 1.0):
        return np.ones_like(seen)
    reach = max(round(BLUR * len(seen)), 1)
    grown = cv2.dilate(hidden.astype(np.float32), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.asarray(1 - cv2.GaussianBlur(grown, (0, 0), reach / 2 + 0.5), np.float32)
