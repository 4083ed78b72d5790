"""Still frames, which `--every auto` skips: detected from the brightness of a few thousand pixels.

A frame is still if neither a face, nor its eyes or its mouth, nor the light on it, nor the picture as a whole has
changed since the last frame that was read (not the one before: slow changes add up). Eyes and mouth are judged by
themselves, since a blink changes little of a face. Photos and new shots change the whole picture, so they are always
read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

FACE, PART, PICTURE = (64, 64), (10, 6), (64, 36)
"""Width and height to which the face, its eyes and its mouth, and the whole picture are shrunk."""
USUAL_CONTRAST, LEAST_CONTRAST = 40.0, 10.0
LONGEST = 25
"""Maximum number of frames between two that are processed."""
MARGIN = 0.05
Luma = NDArray[np.uint8]
Box = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Changes beyond which something is new, of 255 at a contrast (standard deviation) of the face of USUAL_CONTRAST.

    Fitted on the clips d0 to d19 and judged on other footage, see benchmarks/skipping.py.
    """

    face: float = 2.2
    """Mean absolute change of the face beyond that of its mean: a talking head."""
    part: float = 4.0
    """The same of one eye or the mouth, at the face's contrast: a blink."""
    light: float = 6.0
    """Change of the face's mean brightness beyond that of the picture: new light."""
    picture: float = 4.0
    """Mean absolute change of the whole picture at its own contrast: a cut, or somebody entering."""


@dataclass(frozen=True)
class Parts:
    """Where one face is in a processed frame: boxes of x, y, width and height in pixels."""

    face: Box
    details: tuple[Box, ...] = ()
    """Its eyes and its mouth."""


class Watch:
    """Decides for every frame whether it is still; `remember` is called for the frames that are processed."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._patches: list[tuple[Box, Floats, tuple[tuple[Box, Floats], ...]]] = []
        self._picture: Floats | None = None
        self._since = 0

    def still(self, luma: Luma) -> bool:
        """Whether the frame, (H, W) uint8 luma, can be skipped."""
        self._since += 1
        if self._picture is None or self._since >= LONGEST:
            return False
        difference = _picture(luma) - self._picture
        if np.abs(difference).mean() > self._limits.picture:
            return False
        everywhere = float(np.median(difference))
        return all(self._same(luma, *patch, everywhere) for patch in self._patches)

    def _same(
        self, luma: Luma, box: Box, before: Floats, details: tuple[tuple[Box, Floats], ...], everywhere: float
    ) -> bool:
        patch, lit = _patch(luma, box, FACE), self._limits.light
        if change(patch, before) > self._limits.face or abs(brightening(patch, before, everywhere)) > lit:
            return False
        shift, contrast = float((patch - before).mean()), _contrast(before)
        moved = (np.abs(_patch(luma, part, PART) - old - shift).mean() for part, old in details)
        return all(float(by) * USUAL_CONTRAST / contrast <= self._limits.part for by in moved)

    def remember(self, luma: Luma, faces: Sequence[Parts]) -> None:
        """Remember a processed frame with its faces."""
        self._picture, self._since = _picture(luma), 0
        self._patches = [
            (face.face, _patch(luma, face.face, FACE), tuple((part, _patch(luma, part, PART)) for part in face.details))
            for face in faces
        ]


def change(patch: Floats, before: Floats) -> float:
    """Mean absolute difference of two patches about their means, of 255, as it would be at the usual contrast."""
    difference = patch - before
    return float(np.abs(difference - difference.mean()).mean()) * USUAL_CONTRAST / _contrast(before)


def brightening(patch: Floats, before: Floats, everywhere: float = 0.0) -> float:
    """How much brighter the face is, of 255 at the usual contrast, beyond what the picture has become `everywhere`: a
    light on the face changes its score of light, a flicker of the camera does not."""
    return (float((patch - before).mean()) - everywhere) * USUAL_CONTRAST / _contrast(before)


def _contrast(patch: Floats) -> float:
    return max(float(patch.std()), LEAST_CONTRAST)


def _picture(luma: Luma) -> Floats:
    step = max(min(luma.shape[0] // PICTURE[1], luma.shape[1] // PICTURE[0]) // 2, 1)
    return _shrunk(np.ascontiguousarray(luma[::step, ::step]), PICTURE)


def _patch(luma: Luma, box: Box, size: tuple[int, int]) -> Floats:
    x, y, width, height = box
    margin = MARGIN * width
    edge = np.array(luma.shape[::-1])
    low = np.clip((x - margin, y - margin), 0, edge - 1).astype(int)
    high = np.clip(np.ceil((x + width + margin, y + height + margin)), low + 1, edge).astype(int)
    return _shrunk(luma[low[1] : high[1], low[0] : high[0]], size)


def _shrunk(luma: Luma, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
