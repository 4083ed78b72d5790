"""Fine detail of a face and of its surroundings at full resolution, and how much of it is lost over time.

A blur of a pixel removes only the finest detail, which is gone from a picture that is shrunk to working size. It is
measured in three bands: what is lost in the two finer ones but not in the coarser one is sharpness, not content. The
usual sharpness is that of the frames around. Arrays in, arrays out.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from reports.artifacts import temporal as t
from reports.artifacts.measures import blurred
from reports.artifacts.view import Pyramid, View, shrink_factor

BANDS = (0.7, 1.4, 2.8)
"""Standard deviations in pixels of the blurs between which the bands lie; the first begins at the picture itself."""
LARGEST = 1024
"""Longest side in pixels of the region at which detail is measured; a larger one is shrunk by an integer factor."""
AREA = 512 * 512
"""Pixels of that region, at most: of a larger one a band across the middle of the face is taken."""
DEEP = 0.1
"""Fraction of the face's width: the face begins this far inside its outline, where a paste has its own detail."""
LEAST = 0.05
"""Variance in squared luma levels that is added to any amount of detail."""
STEADY = 5
"""Frames of a median against the pulse of an encoder's key frames."""


def detail(picture: Pyramid, view: View) -> Floats:
    """(6,) float32 octaves of luma levels: detail of the face in three bands, finest first, and of the ring.

    NaN of what cannot be seen.
    """
    grey, at = picture.piece(view.box, shrink_factor(view.box, LARGEST)), view.zones
    zones = [_scaled(zone, grey) for zone in (at.distance > DEEP * at.width, at.ring)]
    middle, reach = len(grey) // 2, max(AREA // grey.shape[1] // 2, 1)
    band = slice(max(middle - reach, 0), middle + reach)
    grey, zones = grey[band], [zone[band] for zone in zones]
    soft = [grey, *(blurred(grey, sigma) for sigma in BANDS)]
    squares = [cv2.multiply(band, band) for band in (a - b for a, b in itertools.pairwise(soft))]
    found = [cv2.mean(square, zone)[0] if zone.any() else np.nan for zone in zones for square in squares]
    return np.asarray(np.log2(np.array(found) + LEAST) / 2, np.float32)


def _scaled(zone: NDArray[np.bool_], grey: Floats) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(zone.view(np.uint8), grey.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def lost(octaves: NDArray[np.float64], around: int) -> NDArray[np.float64]:
    """(T,) octaves by which the face's finest detail is weaker than usual, beyond what its surroundings have lost too.

    octaves: (T, 6) values of `detail`, or how far they exceed the reference's; every other row is known. The usual one
    is the median over `around` frames, an odd number.
    """
    face, ring = (_softness(octaves[:, first : first + 3], around) for first in (0, 3))
    return np.asarray(face - np.nan_to_num(ring).clip(0))


def _softness(octaves: NDArray[np.float64], around: int) -> NDArray[np.float64]:
    """(T,) octaves by which the two finer of three bands (T, 3) are weaker against the coarser than usual."""
    softness = t.running_median(t.hold_last((octaves[:, 2] - octaves[:, 0] - octaves[:, 1]) / 2), STEADY)
    return softness - t.usual(softness, around)
