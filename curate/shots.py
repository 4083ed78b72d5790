"""Shot cuts by content change (PySceneDetect's ContentDetector on a 96-pixel thumbnail)."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

from curate.types import Image

WIDTH = 96


def thumbnail(image: Image) -> Image:
    """The frame at 96 pixels width, what cuts are judged on."""
    height = max(1, round(image.shape[0] * WIDTH / image.shape[1]))
    return cast(Image, cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA))


class Shots:
    """Fed with thumbnails in order of presentation, says where a new shot begins."""

    def __init__(self) -> None:
        from scenedetect import ContentDetector, FrameTimecode

        self._detector: Any = ContentDetector(min_scene_len=0)
        self._timecode: Any = FrameTimecode
        self._count = 0

    def cut(self, thumb: Image) -> bool:
        """Whether this frame begins a new shot."""
        bgr = np.ascontiguousarray(thumb[:, :, ::-1])
        found = self._detector.process_frame(self._timecode(self._count, 25.0), bgr)
        self._count += 1
        return bool(found)


def is_cut(before: Image, after: Image) -> bool:
    """Whether two neighbouring frames (as thumbnails) belong to different shots."""
    if before.shape != after.shape:
        return True
    shots = Shots()
    shots.cut(before)
    return shots.cut(after)
