"""Emphasis of eyes and mouth: how much more they count in the loss, drawn from the landmarks.

They are a few percent of the face's pixels and most of its expression.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import LEFT_EYE, LIPS, RIGHT_EYE
from train.config import TrainConfig

FULL = 10.0
"""Added weight that a value of 255 stands for: a weight of 11."""
MARGIN = 1.3
"""Size of an eye's region over its opening, so that lids and lashes belong to it."""
OUTLINES = {
    478: ((RIGHT_EYE, LEFT_EYE), LIPS),
    68: ((tuple(range(36, 42)), tuple(range(42, 48))), tuple(range(48, 60))),
}
"""By number of landmarks: the points around each eye, and around the lips."""


def emphasis(points: NDArray[np.floating], height: int, width: int, config: TrainConfig) -> NDArray[np.uint8]:
    """(height, width) uint8 added weight in units of FULL / 255, by --eyes-weight and --mouth-weight in their outlines.

    points: (478, 3) or (68, 3) landmarks in pixels; 0 everywhere for another number of landmarks.
    """
    added = np.zeros((height, width), np.uint8)
    if len(points) not in OUTLINES:
        return added
    eyes, lips = OUTLINES[len(points)]
    regions = [(lips, 1.0, config.mouth_weight), *((eye, MARGIN, config.eyes_weight) for eye in eyes)]
    for outline, size, weight in regions:
        around = np.asarray(points, np.float64)[list(outline), :2]
        middle = around.mean(0)
        polygon = np.clip(middle + size * (around - middle), -(1 << 14), 1 << 14)
        value = round(255 * (weight - 1) / FULL)
        cv2.fillPoly(added, [np.round(polygon * 16).astype(np.int32)], value, cv2.LINE_AA, 4)
    return added
