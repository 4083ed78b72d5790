"""Face region of one frame, cropped from output and reference alike and shrunk to working size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import hull, hull_mask
from curate.types import Floats, Image
from reports.artifacts.measures import Zones, zones

Grey = NDArray[np.uint8]

WORK = 320
"""Longest side in pixels of the region around the face; a larger one is shrunk by an integer factor."""
COLOURS, RING = 192, 48
"""Longest sides in pixels at which the colours of the face, and of its surroundings, are measured."""
AROUND = 0.25
"""The region extends this far beyond the face's box, as a fraction of its longer side."""
LEAST = 32
"""Pixels: a smaller region is not measured."""


@dataclass(frozen=True)
class View:
    """Region around the face in one frame, at working size."""

    face: tuple[int, int, int, int]
    """x, y, width, height of the face in the frame."""
    box: tuple[int, int, int, int]
    """x, y, width, height of the region in the frame."""
    output: Floats
    """(h, w) float32 luma 0..255 at working size."""
    reference: Floats | None
    zones: Zones
    mask: Floats
    """(h, w) 0..1 at working size: where the face was pasted."""
    zoom: float
    """Pixels of the view per pixel of the frame."""

    def matrix_from_view(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 3) matrix that maps pixels of the view to where `place` maps those of the frame."""
        return matrix_in_box(place, self.box, 1 / self.zoom)

    def points(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) landmarks in pixels of the view."""
        corner = np.array(self.box[:2], np.float64)
        return (np.asarray(landmarks, np.float64)[:, :2] - corner + 0.5) * self.zoom - 0.5


def matrix_in_box(place: NDArray[np.float64], box: tuple[int, int, int, int], zoom: float) -> NDArray[np.float64]:
    """(2, 3) matrix for pixels of a box, each `zoom` pixels of the frame wide, from the frame's matrix `place`."""
    turn = place[:, :2]
    corner = turn @ (np.array(box[:2]) + (zoom - 1) / 2) + place[:, 2]
    return np.column_stack([turn * zoom, corner])


def face_view(
    output: Grey, reference: Grey | None, landmarks: NDArray[np.floating], mask: Floats | None = None
) -> View | None:
    """View of the face in one frame; None where the face is too small or outside the picture.

    `output` and `reference` are luma (H, W) uint8.
    """
    height, width = output.shape[:2]
    polygon = hull(landmarks)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    margin = AROUND * float((high - low).max())
    box = _box(low - margin, high + margin, width, height)
    x0, y0, wide, tall = box
    if min(wide, tall) < LEAST:
        return None
    seen = cropped(output, box)
    zoom = 1 / shrink_factor(box, WORK)
    if mask is None:
        points = (polygon - np.array([x0, y0], np.float32) + np.float32(0.5)) * np.float32(zoom) - np.float32(0.5)
        pasted = hull_mask(points, *seen.shape[:2])
    else:
        pasted = cv2.resize(
            mask[y0 : y0 + tall, x0 : x0 + wide], seen.shape[1::-1], interpolation=cv2.INTER_AREA
        ).astype(np.float32)
    at = zones(pasted)
    if at is None:
        return None
    face = _box(low, high, width, height)
    other = None if reference is None else cropped(reference, box).astype(np.float32)
    return View(face, box, seen.astype(np.float32), other, at, pasted, zoom)


def _box(low: NDArray[np.floating], high: NDArray[np.floating], width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of the whole pixels between two corners, clipped to the frame."""
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high), 0, (width, height)))
    return (x0, y0, x1 - x0, y1 - y0)


def cropped(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Crop (x, y, width, height) of an image, shrunk so that its longer side is at most WORK."""
    x, y, width, height = box
    return shrunk(image[y : y + height, x : x + width], shrink_factor(box, WORK))


def shrink_factor(box: tuple[int, int, int, int], longest: int) -> int:
    """Integer factor that shrinks a box so that its longer side has at most `longest` pixels."""
    return max(-(-max(box[2:]) // longest), 1)


def halving_factor(side: int, longest: int) -> int:
    """Power of two that divides `side` pixels so that at most `longest` are left."""
    return 1 << max(int(np.ceil(np.log2(side / longest))), 0)


def shrunk(image: NDArray[np.uint8], whole: int) -> NDArray[np.uint8]:
    """Image of the means of `whole` x `whole` pixels; a remainder at right and bottom is dropped.

    It is halved as often as possible, for which OpenCV has its fastest code.
    """
    while whole > 1:
        by = 2 if whole % 2 == 0 else whole
        height, width = (n // by for n in image.shape[:2])
        image = np.asarray(
            cv2.resize(image[: height * by, : width * by], (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
        whole //= by
    return image


class Pyramid:
    """Luma (H, W) of one frame, and shrunk copies of it that are computed once."""

    def __init__(self, image: Image) -> None:
        self.grey: Grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        self._shrunk: dict[int, Grey] = {}

    def whole(self, factor: int) -> Grey:
        """(H, W) luma of the frame, shrunk by an integer factor."""
        if factor not in self._shrunk:
            self._shrunk[factor] = shrunk(self.grey, factor)
        return self._shrunk[factor]

    def piece(self, box: tuple[int, int, int, int], whole: int) -> Floats:
        """(h, w) float32 luma of a box of the frame, shrunk by `whole` on a grid that is fixed in the frame."""
        x, y, width, height = (n // whole for n in box)
        return self.whole(whole)[y : y + height, x : x + width].astype(np.float32)


class Colours:
    """Colours of the region of one frame, halved to two sizes."""

    def __init__(self, image: Image, box: tuple[int, int, int, int]) -> None:
        x, y, width, height = box
        whole = halving_factor(max(width, height), COLOURS)
        self.face: Image = shrunk(image[y : y + height, x : x + width], whole)
        self.whole = whole
        """Pixels of the frame per pixel of `face`."""
        self.ring: Image = shrunk(self.face, halving_factor(max(width, height), RING) // whole)
