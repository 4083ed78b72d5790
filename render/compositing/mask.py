"""Mask of the swapped face: the network's mask and the mesh's hull, eroded and feathered.

It is computed in crop space, with lengths relative to the face, so that the edge scales with the face. The
result varies continuously with both masks: a hard threshold would flicker.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.face.align import hull_mask
from curate.types import Floats
from render.compositing.settings import MaskSettings

OUTLINES = {
    "eyes": (
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    ),
    "mouth": ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),),
}
"""Mesh vertices around the regions that can stay the target's."""


def face_mask(model: Floats, points: NDArray[np.floating], settings: MaskSettings) -> Floats:
    """Mask (S, S) float32 in 0..1, 0 outside the joined mask and at the crop's border.

    `model` (S, S) in 0..1 is the network's mask, `points` (N, 2|3) are the face's landmarks in crop pixels.
    """
    size = model.shape[0]
    hull = hull_mask(points, size, size)
    area = float(hull.sum())
    if area < 1:
        return np.zeros_like(model)
    alpha = feathered(join(model, hull, settings.mode), area**0.5, settings)
    for part in settings.keep:
        for outline in OUTLINES[part]:
            alpha = alpha * (1 - _around(points, outline, size, settings.feather * area**0.5))
    return alpha


def _around(points: NDArray[np.floating], outline: tuple[int, ...], size: int, feather: float) -> Floats:
    """Mask (S, S), 1 inside the outline, fading out around it."""
    if len(points) <= max(outline):
        raise UsageError("--keep: needs the 478 landmarks of the face mesh, but this run uses 68; omit --keep")
    sigma = max(feather / 4, 0.5)
    filled = hull_mask(points[list(outline)], size, size)
    reach = max(round(2 * sigma), 1)
    grown = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), sigma), np.float32)


def join(model: Floats, hull: Floats, mode: str) -> Floats:
    """Joined mask (H, W) in 0..1 of the two masks."""
    if mode == "both":
        joined = model * hull
    elif mode == "union":
        joined = 1 - (1 - model) * (1 - hull)
    else:
        joined = model if mode == "model" else hull
    return np.asarray(np.clip(joined, 0, 1), np.float32)


def feathered(mask: Floats, face: float, settings: MaskSettings) -> Floats:
    """The mask, eroded by `erode * face` pixels and faded over `feather * face`, all inside the original mask.

    A step blurred with a Gaussian has half its height at its original place: pixels above a level over one half are
    inside it, and how far inside follows from the level (Gaussian distribution function).
    """
    sigma = max(settings.feather * face / 2, 0.5)
    around = int(np.ceil(3 * sigma))
    padded = cv2.copyMakeBorder(mask, around, around, around, around, cv2.BORDER_CONSTANT, value=0)
    blurred = cv2.GaussianBlur(padded, (0, 0), sigma)[around:-around, around:-around]
    low, high = _gaussian(settings.erode * face / sigma), _gaussian(2.0)
    low = min(low, high - 0.05)
    ramp = np.clip((blurred - low) / (high - low), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp) * (mask > 0), np.float32)


def _gaussian(deviations: float) -> float:
    """Fraction of a normal distribution below a number of standard deviations."""
    return 0.5 * (1 + math.erf(deviations / math.sqrt(2)))
