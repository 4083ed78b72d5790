"""Sharpness and grain of the swapped face, matched to the footage's.

Both are measured in the crop under the mask, smoothed over the shot like the colours, and applied within the face.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

SIGMA = 1.0
"""Gaussian, in pixels of the crop, whose residual counts as detail."""
FLOOR = 0.004
"""Negligible detail, of 1: added to both sides of a ratio."""
LIMITS = (-1.5, 1.0)
"""Limits of the change of detail, octaves."""
GRAIN = 0.02
"""Maximum grain, of 1."""
BLOCK = 8
"""Side of the blocks in which noise is measured, pixels."""
KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians."""


def octaves(swapped: Floats, footage: Floats, mask: Floats) -> float:
    """Octaves of detail by which the footage's crop exceeds the swapped one, both (S, S, 3) in 0..1, under the mask."""
    weight = float(mask.sum())
    if weight < 16:
        return 0.0
    mine, theirs = (float(np.sqrt((_fine(x) ** 2 * mask).sum() / weight)) for x in (swapped, footage))
    return float(np.clip(np.log2((theirs + FLOOR) / (mine + FLOOR)), *LIMITS))


def matched(rgb: Floats, change: float) -> Floats:
    """The crop (S, S, 3) in 0..1 with `change` octaves more detail (unsharp masking), or less if it is negative."""
    if abs(change) < 0.05:
        return rgb
    fine = rgb - cv2.GaussianBlur(rgb, (0, 0), SIGMA)
    return np.asarray(np.clip(rgb + (2.0**change - 1) * fine, 0, 1), np.float32)


def grain(swapped: Floats, footage: Floats, mask: Floats) -> float:
    """Standard deviation, of 1, of the grain that the swapped crop lacks compared with the footage's."""
    flat = _whole_blocks(mask)
    mine, theirs = _noise(swapped, flat), _noise(footage, flat)
    return float(np.sqrt(np.clip(theirs**2 - mine**2, 0, GRAIN**2)))


def noise(rgb: Floats, mask: Floats) -> float:
    """Standard deviation of the noise under the mask, of 1, from the flattest quarter of blocks of 8 pixels.

    It is measured by the difference of two Laplacians (Immerkaer, Fast noise variance estimation, 1996), which ignores
    smooth shading and straight edges.
    """
    return _noise(rgb, _whole_blocks(mask))


def _noise(rgb: Floats, where: NDArray[np.bool_]) -> float:
    """As `noise`, in the blocks (S // BLOCK, S // BLOCK) that count."""
    if not where.any():
        return 0.0
    response = np.abs(cv2.filter2D(_grey(rgb), cv2.CV_32F, KERNEL, borderType=cv2.BORDER_REFLECT))
    side = len(rgb) // BLOCK * BLOCK
    means = cv2.resize(response[:side, :side], where.shape[::-1], interpolation=cv2.INTER_AREA)
    return float(np.percentile(means[where], 25)) * float(np.sqrt(np.pi / 2) / 6)


def grained(rgb: Floats, sigma: float, seed: int) -> Floats:
    """The image (H, W, 3) in 0..1 with grain in its brightness, the same for the same seed."""
    if sigma < 0.2 / 255:
        return rgb
    drawn = np.random.default_rng(seed).standard_normal(rgb.shape[:2], np.float32) * np.float32(sigma)
    return np.asarray(np.clip(rgb + drawn[..., None], 0, 1), np.float32)


def _fine(rgb: Floats) -> NDArray[np.float32]:
    grey = _grey(rgb)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), SIGMA), np.float32)


def _grey(rgb: Floats) -> Floats:
    """(S, S) luma by BT.601."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32)


def _whole_blocks(mask: Floats) -> NDArray[np.bool_]:
    """(S // BLOCK, S // BLOCK) whether the mask exceeds one half everywhere in a block."""
    count = len(mask) // BLOCK
    return np.asarray((mask > 0.5)[: count * BLOCK, : count * BLOCK].reshape(count, BLOCK, count, BLOCK).all((1, 3)))
