"""Search for faces that a detector misses: close-ups that fill the frame, profiles, heads upside down or on a side."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.backends import Detector
from curate.types import Detection, Image

BORDER, NARROW = 0.4, 0.2
"""Black borders around the picture, as shares of its longer side: in them a close-up is as small as other faces."""


def search(detector: Detector, image: Image) -> Iterator[list[Detection]]:
    """Faces in each of several views of the picture (H, W, 3) in which the detector finds any, best first.

    Positions are in pixels of the picture itself; the eyes show how the head is turned. The next view is looked at when
    the next list is asked for.
    """
    for view, back in _views(image):
        found = detector.detect(view)
        if found:
            yield [_moved(one, back) for one in found]


def _views(image: Image) -> Iterator[tuple[Image, NDArray[np.float64]]]:
    """The picture with borders, in a mirror, upside down and turned to either side, each with the (2, 3) way back."""
    height, width = image.shape[:2]
    for share in (BORDER, NARROW):
        edge = round(share * max(height, width))
        wider = np.asarray(cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT), np.uint8)
        yield wider, np.array([[1.0, 0, -edge], [0, 1, -edge]])
    yield np.ascontiguousarray(wider[:, ::-1]), np.array([[-1.0, 0, width - 1 + edge], [0, 1, -edge]])
    yield np.ascontiguousarray(image[::-1, ::-1]), np.array([[-1.0, 0, width - 1], [0, -1, height - 1]])
    yield np.ascontiguousarray(np.rot90(image)), np.array([[0.0, -1, width - 1], [1, 0, 0]])
    yield np.ascontiguousarray(np.rot90(image, 3)), np.array([[0.0, 1, 0], [-1, 0, height - 1]])


def _moved(found: Detection, back: NDArray[np.float64]) -> Detection:
    box = np.array([(found.x, found.y), (found.x + found.width, found.y + found.height)])
    corners = box @ back[:, :2].T + back[:, 2]
    low, size = corners.min(0), np.abs(corners[1] - corners[0])
    points = (found.keypoints @ back[:, :2].T + back[:, 2]).astype(np.float32)
    if np.linalg.det(back[:, :2]) < 0:
        points = points[[1, 0, *range(2, len(points))]]  # in a mirror the eyes change places
    return Detection(float(low[0]), float(low[1]), float(size[0]), float(size[1]), found.score, points)
