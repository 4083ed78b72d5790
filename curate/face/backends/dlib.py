"""dlib: its HOG detector (King 2015, built into the package) and its ResNet identity network (King 2017)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import MissingError
from curate.face.weights import IDENTITY, fetch
from curate.types import Detection, Floats, Image

LONGEST = 640
"""Pixels of the longer side to which a larger picture is shrunk: there the first look finds faces of 80 pixels and
more, the second, at twice the size and four times the price, of 40."""
# Where the eyes lie in the box (x, y, in widths and heights), the subject's right one first, for each of the five
# templates of the detector: medians over rendered heads at all poses that it finds, made symmetrical.
EYES: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = (
    ((0.29, 0.28), (0.71, 0.28)),  # frontal
    ((0.34, 0.37), (0.65, 0.36)),  # turned to image left
    ((0.35, 0.36), (0.66, 0.37)),  # turned to image right
    ((0.24, 0.39), (0.60, 0.24)),  # tilted counter-clockwise, by about 23 degrees
    ((0.40, 0.24), (0.76, 0.39)),  # tilted clockwise
)
# The mesh points in the order of dlib's five-point model: left eye outer and inner corner, right eye's, nose base.
FIVE = (263, 362, 33, 133, 2)
FIVE_OF_68 = (45, 42, 36, 39, 33)


def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise MissingError("the package dlib-bin is not installed: pip install dlib-bin") from None
    return dlib


class DlibDetector:
    """Frontal faces: recall falls past 40 degrees of yaw or 30 of roll. Needs no weights.

    The score is the template's margin through a logistic curve, no probability. HOG gives no keypoints: the two eyes
    are where they lie in the box on average (`EYES`), within about a twelfth of its side.
    """

    def __init__(self) -> None:
        self._templates: Any = _dlib().get_frontal_face_detector()

    def detect(self, image: Image) -> list[Detection]:
        """Faces of margin 0 and better, best first; small ones are searched only if there are no larger ones."""
        zoom = min(LONGEST / max(image.shape[:2]), 1.0)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if zoom < 1:
            height, width = (max(round(side * zoom), 1) for side in grey.shape)
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        return self._look(grey, zoom, 0) or self._look(grey, zoom, 1)

    def _look(self, grey: NDArray[Any], zoom: float, doublings: int) -> list[Detection]:
        boxes, margins, templates = self._templates.run(grey, doublings, 0.0)
        found = []
        for box, margin, template in zip(boxes, margins, templates, strict=True):
            x, y, width, height = (side / zoom for side in (box.left(), box.top(), box.width(), box.height()))
            eyes = np.add(np.multiply(EYES[template], (width, height)), (x, y)).astype(np.float32)
            found.append(Detection(x, y, width, height, 1 / (1 + float(np.exp(-margin))), eyes))
        return sorted(found, key=lambda d: -d.score)


class DlibIdentifier:
    """dlib's identity network: 128 numbers; faces of one person are within about 0.5 of each other."""

    def __init__(self) -> None:
        self._dlib = _dlib()
        self._network: Any = self._dlib.face_recognition_model_v1(str(fetch(IDENTITY)))

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
