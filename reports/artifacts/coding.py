"""Noise that encoding leaves between a video and its reference, measured outside the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

BLOCK = 16
"""Pixels: side of the blocks in which noise is measured, that of H.264's macroblocks."""
STRIPS = 3
"""One row of blocks in this many is measured."""
HIGH = 90
"""Percentile of the blocks that counts: flat blocks lose nothing, whatever the quality."""
FEWEST = 8
"""Minimum number of blocks outside the face; with fewer the noise is taken as 0."""


def noise(output: NDArray[np.uint8], reference: NDArray[np.uint8], face: tuple[int, int, int, int]) -> float:
    """Noise in luma levels of two frames (H, W) uint8 outside the box `face` (x, y, width, height).

    Standard deviation of the difference within a block, the HIGH percentile of the blocks; 0 if there are too few.
    """
    height, width = (n // BLOCK for n in output.shape)
    rows = np.arange(0, height, STRIPS)
    lines = (rows[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    apart = output[lines, : width * BLOCK].astype(np.float32) - reference[lines, : width * BLOCK]
    blocks: Floats = apart.reshape(len(rows), BLOCK, width, BLOCK)
    spread = blocks.std((1, 3))
    x, y, wide, tall = (n / BLOCK for n in face)
    column = np.arange(width)
    inside = ((rows > y - 1) & (rows < y + tall))[:, None] & ((column > x - 1) & (column < x + wide))
    outside = spread[~inside]
    return float(np.percentile(outside, HIGH)) if len(outside) >= FEWEST else 0.0


def unsteady(noise: float, width: float, luma: float) -> float:
    """Fraction by which `noise` alone changes the mean of a face of `width` pixels and mean `luma`, block by block."""
    return noise * BLOCK / max(width * luma, 1.0)
