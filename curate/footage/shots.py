"""Shot cuts, from the difference of each frame to the one before. The only definition of a cut in this project.

PySceneDetect's content measure (mean change of hue, saturation and value) with its fixed threshold misses cuts between
pictures of like brightness; its adaptive one looks at what comes after. Here a smaller change counts as well when it
stands out from the frames before it; and the outlines must change too, which tells a cut from a flash. Where they are
the same but for a shift, the camera has panned.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, cast

import cv2
import numpy as np

from curate.types import Floats, Image

WIDTH = 96
ALWAYS = 27.0
"""Mean change of hue, saturation and value (0..255 each, hue 0..180) that is always enough for a cut."""
LEAST, TIMES = 8.0, 3.0
"""A smaller change of at least LEAST is enough if it is TIMES the mean change of the preceding frames."""
SIMILAR = 0.93
"""Correlation of the outlines at and above which two frames show the same scene."""
MOVED, SEEN = 0.8, 0.55
"""Correlation of the outlines after a shift at and above which the camera has panned; least share that both show."""
MEMORY, QUIET = 6, 1.5
"""Number of preceding frames that count; lower bound of their mean change."""


def thumbnail(image: Image) -> Image:
    """The frame (H, W, 3) uint8 at 96 pixels width, from which cuts are found."""
    height = max(1, round(image.shape[0] * WIDTH / image.shape[1]))
    return cast(Image, cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA))


class Difference(NamedTuple):
    """Difference of two neighbouring frames."""

    change: float
    """Mean change of hue, saturation and value; see `content_change`."""
    likeness: float
    """Correlation of the outlines, see `likeness`; at least SIMILAR where the camera has only panned."""


def difference(before: Image, after: Image) -> Difference:
    """Difference of two thumbnails (H, 96, 3); the largest one if their shapes differ."""
    if before.shape != after.shape:
        return Difference(ALWAYS, -1.0)
    alike = likeness(before, after)
    if alike < SIMILAR and _panned(before, after) >= MOVED:
        alike = SIMILAR
    return Difference(content_change(before, after), alike)


class Cuts:
    """Decides from the differences of frames, in order of presentation, where shots begin."""

    def __init__(self, flashes: bool = False) -> None:
        """With `flashes`, a change of ALWAYS counts as a cut even if the outlines stay alike."""
        self._flashes = flashes
        self._changes: deque[float] = deque(maxlen=MEMORY)

    def cut(self, now: Difference) -> bool:
        """Whether the later of the two frames begins a new shot."""
        usual = max(float(np.mean(self._changes)) if self._changes else 0.0, QUIET)
        stands_out = now.change >= min(ALWAYS, max(LEAST, TIMES * usual))
        found = (stands_out and now.likeness < SIMILAR) or (self._flashes and now.change >= ALWAYS)
        if not found:
            self._changes.append(now.change)
        return found


class Shots:
    """Decides from the thumbnails of frames, in order of presentation, where shots begin."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._cuts = Cuts()

    def cut(self, thumb: Image) -> bool:
        """Whether this frame begins a new shot; the first one does not."""
        before, self._before = self._before, thumb
        return before is not None and self._cuts.cut(difference(before, thumb))


def is_cut(before: Image, after: Image) -> bool:
    """Whether two neighbouring thumbnails belong to different shots, without the frames before them."""
    return Cuts().cut(difference(before, after))


def content_change(a: Image, b: Image) -> float:
    """Mean absolute change of hue, saturation and value between two thumbnails, 0..255 (PySceneDetect's)."""
    first, second = (cv2.cvtColor(i, cv2.COLOR_RGB2HSV).astype(np.float32) for i in (a, b))
    return float(np.abs(first - second).mean())


def likeness(a: Image, b: Image) -> float:
    """Correlation -1..1 of the outlines (softened gradient magnitudes) of two thumbnails; 1 where both are flat."""
    first, second = _outlines(a), _outlines(b)
    return float((first * second).sum() + 1e-6) / (float(np.linalg.norm(first) * np.linalg.norm(second)) + 1e-6)


def _panned(a: Image, b: Image) -> float:
    """Correlation -1..1 of the outlines where the two thumbnails overlap after the shift that suits them best."""
    first, second = _outlines(a), _outlines(b)
    height, width = first.shape
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(first, second, window)
    dx, dy = round(x), round(y)
    if max(width - abs(dx), 0) * max(height - abs(dy), 0) < SEEN * width * height or (dx, dy) == (0, 0):
        return -1.0
    one = first[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
    two = second[max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)]
    one, two = one - one.mean(), two - two.mean()
    return float((one * two).sum()) / (float(np.linalg.norm(one) * np.linalg.norm(two)) + 1e-6)


def _outlines(thumb: Image) -> Floats:
    grey = cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    soft = cv2.GaussianBlur(size, (0, 0), 1.5)
    return np.asarray(soft - soft.mean(), np.float32)
