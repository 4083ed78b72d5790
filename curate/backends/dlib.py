"""dlib's ResNet identity network (King 2017), 128 numbers; one person's faces lie within about .5 of each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.errors import MissingError
from curate.models import IDENTITY, fetch
from curate.types import Floats, Image

# The mesh points in the order of dlib's five-point model: left eye outer and inner corner, right eye's, nose base.
FIVE = (263, 362, 33, 133, 2)
FIVE_OF_68 = (45, 42, 36, 39, 33)


class DlibIdentifier:
    """See the module."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError:
            raise MissingError("the package dlib-bin is not installed: pip install dlib-bin") from None
        self._dlib: Any = dlib
        self._network: Any = dlib.face_recognition_model_v1(str(fetch(IDENTITY)))

    def chip(self, image: Image, landmarks: Floats) -> Image:
        """(150, 150, 3) aligned on five points, with a quarter of padding, as the network was trained."""
        five = landmarks[list(FIVE if len(landmarks) >= 468 else FIVE_OF_68), :2]
        low, high = five.min(0), five.max(0)
        reach = 2 * float((high - low).max()) + 8
        x0, y0 = np.maximum(np.floor(low - reach), 0).astype(int)
        x1, y1 = np.ceil(high + reach).astype(int)
        near = np.ascontiguousarray(image[y0:y1, x0:x1])
        points = [self._dlib.point(round(float(x - x0)), round(float(y - y0))) for x, y in five]
        box = self._dlib.rectangle(0, 0, near.shape[1] - 1, near.shape[0] - 1)
        shape = self._dlib.full_object_detection(box, points)
        chip: Image = self._dlib.get_face_chip(near, shape, size=150, padding=0.25)
        return chip

    def identify(self, chip: Image) -> Floats:
        """(128,) float32."""
        return np.array(self._network.compute_face_descriptor(chip), np.float32)
