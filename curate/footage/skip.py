"""Still frames, which `--every auto` skips: detected from the brightness of a few thousand pixels.

A frame is still if neither the face nor the picture as a whole has changed since the last frame that was read (not the
one before: slow changes add up). Photos and new shots change the whole picture, so they are always read.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

FACE, PICTURE = (64, 64), (64, 36)
"""Width and height to which the face and the whole picture are shrunk."""
FACE_CHANGE = 2.2
"""Mean absolute change of the face beyond that of its mean, of 255, at a contrast (standard deviation) of
USUAL_CONTRAST, that is something new: a talking head then loses about 1 % of coverage (benchmarks/throughput.py)."""
LIGHT_CHANGE = 6.0
"""Change of the face's mean brightness beyond that of the picture, of 255 at the usual contrast, that is new light."""
PICTURE_CHANGE = 4.0
"""The same for the whole picture: a cut, or somebody entering."""
USUAL_CONTRAST, LEAST_CONTRAST = 40.0, 10.0
LONGEST = 25
"""Maximum number of frames between two that are processed."""
MARGIN = 0.05
Luma = NDArray[np.uint8]
Box = NDArray[np.float64]


class Watch:
    """Decides for every frame whether it is still; `remember` is called for the frames that are processed."""

    def __init__(self) -> None:
        self._patches: list[tuple[Box, Floats]] = []
        self._picture: Floats | None = None
        self._since = 0

    def still(self, luma: Luma) -> bool:
        """Whether the frame, (H, W) uint8 luma, can be skipped."""
        self._since += 1
        if self._picture is None or self._since >= LONGEST:
            return False
        difference = _picture(luma) - self._picture
        if np.abs(difference).mean() > PICTURE_CHANGE:
            return False
        everywhere = float(np.median(difference))
        patches = [(_patch(luma, box), before) for box, before in self._patches]
        return all(
            change(*both) <= FACE_CHANGE and abs(brightening(*both, everywhere)) <= LIGHT_CHANGE for both in patches
        )

    def remember(self, luma: Luma, boxes: Sequence[Box]) -> None:
        """Remember a processed frame; its faces are in `boxes`, x, y, width, height in pixels."""
        self._picture, self._since = _picture(luma), 0
        self._patches = [(box, _patch(luma, box)) for box in boxes]


def change(patch: Floats, before: Floats) -> float:
    """Mean absolute difference of two patches about their means, of 255, as it would be at the usual contrast."""
    difference = patch - before
    contrast = max(float(before.std()), LEAST_CONTRAST)
    return float(np.abs(difference - difference.mean()).mean()) * USUAL_CONTRAST / contrast


def brightening(patch: Floats, before: Floats, everywhere: float = 0.0) -> float:
    """How much brighter the face is, of 255 at the usual contrast, beyond what the picture has become `everywhere`: a
    light on the face changes its score of light, a flicker of the camera does not."""
    contrast = max(float(before.std()), LEAST_CONTRAST)
    return (float((patch - before).mean()) - everywhere) * USUAL_CONTRAST / contrast


def _picture(luma: Luma) -> Floats:
    step = max(min(luma.shape[0] // PICTURE[1], luma.shape[1] // PICTURE[0]) // 2, 1)
    return _shrunk(np.ascontiguousarray(luma[::step, ::step]), PICTURE)


def _patch(luma: Luma, box: Box) -> Floats:
    x, y, width, height = box
    margin = MARGIN * width
    low = np.maximum((x - margin, y - margin), 0).astype(int)
    high = np.ceil((x + width + margin, y + height + margin)).astype(int)
    return _shrunk(luma[low[1] : high[1], low[0] : high[0]], FACE)


def _shrunk(luma: Luma, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
