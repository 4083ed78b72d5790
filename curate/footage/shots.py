"""Shot cuts: a frame that differs much from the one before, also measured by how much frames have differed so far.

PySceneDetect's content measure (mean change of hue, saturation and value) with its fixed threshold misses cuts between
pictures of like brightness; its adaptive one looks at what comes after. Here a smaller change counts as well when it
stands out from the frames before it; and the outlines must change too, which tells a cut from a flash.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import cv2
import numpy as np

from curate.types import Floats, Image

WIDTH = 96
ALWAYS = 27.0
"""Mean change of hue, saturation and value (0..255 each, hue 0..180) that is enough whatever came before."""
LEAST, TIMES = 8.0, 3.0
"""A smaller one is enough from LEAST on if it is TIMES the mean of the frames before."""
SIMILAR = 0.93
"""Correlation of the outlines from which on two frames show the same scene."""
MEMORY, QUIET = 6, 1.5
"""Frames that are remembered; what a still shot changes by at least."""


def thumbnail(image: Image) -> Image:
    """The frame at 96 pixels width, what cuts are judged on."""
    height = max(1, round(image.shape[0] * WIDTH / image.shape[1]))
    return cast(Image, cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA))


class Shots:
    """Fed with thumbnails in order of presentation, says where a new shot begins."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._changes: deque[float] = deque(maxlen=MEMORY)

    def cut(self, thumb: Image) -> bool:
        """Whether this frame begins a new shot."""
        before, self._before = self._before, thumb
        if before is None:
            return False
        change = content_change(before, thumb) if before.shape == thumb.shape else ALWAYS
        usual = max(float(np.mean(self._changes)) if self._changes else 0.0, QUIET)
        stands_out = change >= min(ALWAYS, max(LEAST, TIMES * usual))
        found = stands_out and (before.shape != thumb.shape or likeness(before, thumb) < SIMILAR)
        if not found:
            self._changes.append(change)
        return found


def is_cut(before: Image, after: Image) -> bool:
    """Whether two neighbouring frames (as thumbnails) belong to different shots."""
    shots = Shots()
    shots.cut(before)
    return shots.cut(after)


def content_change(a: Image, b: Image) -> float:
    """Mean absolute change of hue, saturation and value between two thumbnails, 0..255 (PySceneDetect's)."""
    first, second = (cv2.cvtColor(i, cv2.COLOR_RGB2HSV).astype(np.float32) for i in (a, b))
    return float(np.abs(first - second).mean())


def likeness(a: Image, b: Image) -> float:
    """Correlation -1..1 of the outlines (softened gradient magnitudes) of two thumbnails; 1 where both are flat."""
    first, second = _outlines(a), _outlines(b)
    return float((first * second).sum() + 1e-6) / (float(np.linalg.norm(first) * np.linalg.norm(second)) + 1e-6)


def _outlines(thumb: Image) -> Floats:
    grey = cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    soft = cv2.GaussianBlur(size, (0, 0), 1.5)
    return np.asarray(soft - soft.mean(), np.float32)
