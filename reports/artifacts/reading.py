"""Landmarks and identity of the face in a render's frames, as its artifact report needs them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.face.backends import IDENTIFIERS, Identifier, Landmarker
from curate.face.backends.litert import LiteRTLandmarker
from curate.face.track import region_of
from curate.types import Floats, Image, Landmarks

IDENTITY_SECONDS = 1.0
"""The identity of the face is read this often."""
PRESENT = 0.5
"""Landmarks count if the landmarker is at least this sure, 0..1, that it sees a face."""


class Reader:
    """Reading of the output's face at the place of the footage's, every few frames.

    `fps` is frames per second, `every` the frames from one reading of landmarks to the next. Which frames are read
    follows from their index alone, so that a video gives the same however it is cut into parts. The weights are loaded
    with the first face.
    """

    def __init__(self, fps: float, every: int) -> None:
        self._every, self._seconds = every, max(round(IDENTITY_SECONDS * (fps if fps > 0 else 25.0)), 1)
        self._landmarker: Landmarker | None = None
        self._identifier: Identifier | None = None

    def landmarks(
        self, index: int, output: Image, reference: Image, footage: NDArray[np.floating] | None
    ) -> tuple[Floats, Floats] | None:
        """Landmarks (478, 3) of the output and of its reference, (H, W, 3) each, both at those of the `footage` (N, 3).

        Both are read from the same region: another region moves the landmarks of the same face. None if not due, or
        where one shows no face.
        """
        if footage is None or len(footage) < 468 or index % self._every:
            return None
        self._landmarker = self._landmarker or LiteRTLandmarker(expressions=False)
        region = region_of(Landmarks(np.asarray(footage, np.float32), 1.0, None))
        mine, theirs = (self._landmarker.landmark(image, region) for image in (output, reference))
        return (mine.points, theirs.points) if min(mine.score, theirs.score) >= PRESENT else None

    def identity(self, index: int, output: Image, landmarks: NDArray[np.floating] | None) -> Floats | None:
        """Embedding (128,) of the face with these landmarks (N, 3) in the output; None if not due or no face."""
        if landmarks is None or index % self._seconds != self._seconds // 2:
            return None
        self._identifier = self._identifier or IDENTIFIERS["dlib"]()
        return self._identifier.identify(self._identifier.chip(output, np.asarray(landmarks, np.float32)))
