"""SFace (Zhong et al. 2021) from OpenCV's model zoo, run by OpenCV itself: a second identity network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from curate.face.weights import SFACE, fetch
from curate.types import Floats, Image

SCALE = 0.6 / 1.128
"""Factor of the unit vectors: OpenCV's limit for one person, 1.128, becomes dlib's, 0.6, so that all limits of the
project hold for both. Both were published for pairs of faces in LFW."""
SIDE = 112
# The subject's right eye, left eye, tip of the nose, right and left corner of the mouth, as means of these points.
FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
FIVE_OF_68 = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))


class SFaceIdentifier:
    """OpenCV's identity network: 128 numbers; faces of one person are within about 0.5 of each other."""

    def __init__(self) -> None:
        self._network: Any = cv2.FaceRecognizerSF.create(str(fetch(SFACE)), "")

    def chip(self, image: Image, landmarks: Floats) -> Image:
        """(112, 112, 3) aligned on five points, as the network was trained."""
        groups = FIVE if len(landmarks) >= 468 else FIVE_OF_68
        five = np.stack([landmarks[list(group), :2].mean(axis=0) for group in groups])
        face = np.array([[0, 0, 0, 0, *five.ravel(), 1]], np.float32)  # as YuNet gives it; the box is not read
        chip: Image = self._network.alignCrop(np.ascontiguousarray(image), face)
        return chip

    def identify(self, chip: Image) -> Floats:
        """(128,) float32 of length SCALE."""
        found = np.asarray(self._network.feature(np.ascontiguousarray(chip[:, :, ::-1])), np.float32)[0]
        return np.asarray(SCALE * found / max(float(np.linalg.norm(found)), 1e-9), np.float32)
