"""Log footage: pictures as flat as the log curves of cameras make them, which no tag of the file tells."""

from __future__ import annotations

import numpy as np

from curate.types import Image

BLACK = 0.085
"""Brightness 0..1 below which nothing lies: log curves put black at 0.09 (S-Log3, LogC) to 0.13 (V-Log)."""
WHITE = 0.64
"""Above which nothing lies: log curves put white at 0.57 to 0.61."""
LEAST, SPAN = 0.15, 0.48
"""Distance between the darkest and the brightest: less is a fade or a slate."""
LEVELS = 32
"""Different levels of brightness of a picture that is no slate."""
COLOUR = 0.16
"""Mean difference of the largest and the smallest component, 0..1."""
NOTE = "looks like log footage (flat and pale); if it is, apply its colour table with --lut FILE.cube"


def looks_log(image: Image) -> bool:
    """Whether a picture (H, W, 3) uint8 RGB has the histogram of log footage.

    The limits were set on nine ordinary clips and on the same clips through S-Log3, LogC3 and V-Log.
    """
    values = np.asarray(image[::4, ::4], np.float32).reshape(-1, 3) / 255
    luma = values @ (0.2126, 0.7152, 0.0722)
    low, high = np.percentile(luma, [0.5, 99.5])
    if low < BLACK or high > WHITE or not LEAST <= high - low <= SPAN:
        return False
    full = len(np.unique(np.rint(255 * luma))) >= LEVELS
    return full and float(np.ptp(values, axis=1).mean()) <= COLOUR
