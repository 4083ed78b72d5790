"""Search for faces that a detector misses: close-ups that fill the frame, heads upside down or lying on a side."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.backends import Detector
from curate.types import Detection, Image

BORDER = 0.4
"""Black border around the picture, as a share of its longer side: in it a close-up is as small as other faces."""


def search(detector: Detector, image: Image) -> list[Detection]:
    """Faces in the first of several views of the picture (H, W, 3) in which the detector finds any, best first.

    Positions are in pixels of the picture itself; the eyes show how the head is turned.
    """
    for view, back in _views(image):
        found = detector.detect(view)
        if found:
            return [_moved(one, back) for one in found]
    return []


def _views(image: Image) -> Iterator[tuple[Image, NDArray[np.float64]]]:
    """The picture with a border, upside down and turned to either side, each with the (2, 3) way back."""
    height, width = image.shape[:2]
    edge = round(BORDER * max(height, width))
    wider = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT)
    yield np.asarray(wider, np.uint8), np.array([[1.0, 0, -edge], [0, 1, -edge]])
    yield np.ascontiguousarray(image[::-1, ::-1]), np.array([[-1.0, 0, width - 1], [0, -1, height - 1]])
    yield np.ascontiguousarray(np.rot90(image)), np.array([[0.0, -1, width - 1], [1, 0, 0]])
    yield np.ascontiguousarray(np.rot90(image, 3)), np.array([[0.0, 1, 0], [-1, 0, height - 1]])


def _moved(found: Detection, back: NDArray[np.float64]) -> Detection:
    box = np.array([(found.x, found.y), (found.x + found.width, found.y + found.height)])
    corners = box @ back[:, :2].T + back[:, 2]
    low, size = corners.min(0), np.abs(corners[1] - corners[0])
    points = (found.keypoints @ back[:, :2].T + back[:, 2]).astype(np.float32)
    return Detection(float(low[0]), float(low[1]), float(size[0]), float(size[1]), found.score, points)
