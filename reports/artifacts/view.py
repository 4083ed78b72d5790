"""The region around a face, cut out of output and reference alike and shrunk to working size."""

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
"""Longest side in pixels to which the region around the face is shrunk by whole times, if it is larger."""
COLOURS, RING = 192, 48
"""Longest side in pixels at which the colours of the face, and of what is around it, are looked at."""
AROUND = 0.25
"""The region reaches this far beyond the face's box, in parts of its longer side."""
LEAST = 32
"""Pixels: a smaller region is not measured."""


@dataclass(frozen=True)
class View:
    """One frame's region around the face, at working size."""

    face: tuple[int, int, int, int]
    """x, y, width, height of the face in the frame."""
    box: tuple[int, int, int, int]
    """The same of the region."""
    output: Floats
    """(h, w) float32 luma 0..255 at working size."""
    reference: Floats | None
    zones: Zones
    mask: Floats
    """(h, w) 0..1 at working size: where the face was pasted."""
    zoom: float
    """Pixels of the view in one of the frame."""

    def onto(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """A (2, 3) matrix from pixels of the frame to something, as one from pixels of the view."""
        return moved(place, self.box, 1 / self.zoom)


def moved(place: NDArray[np.float64], box: tuple[int, int, int, int], zoom: float) -> NDArray[np.float64]:
    """A (2, 3) matrix from the frame's pixels, as one from a box's pixels that are each `zoom` of the frame's wide."""
    turn = place[:, :2]
    corner = turn @ (np.array(box[:2]) + (zoom - 1) / 2) + place[:, 2]
    return np.column_stack([turn * zoom, corner])


def look(
    output: Grey, reference: Grey | None, landmarks: NDArray[np.floating], mask: Floats | None = None
) -> View | None:
    """The region around a face at working size; None where the face is too small or out of the picture.

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
    seen = cut(output, box)
    zoom = 1 / times(box, WORK)
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
    other = None if reference is None else cut(reference, box).astype(np.float32)
    return View(face, box, seen.astype(np.float32), other, at, pasted, zoom)


def _box(low: NDArray[np.floating], high: NDArray[np.floating], width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of whole pixels around two corners, inside the frame."""
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high), 0, (width, height)))
    return (x0, y0, x1 - x0, y1 - y0)


def cut(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """The box (x, y, width, height) of an image, shrunk by whole times so that its longer side is at most WORK."""
    x, y, width, height = box
    return shrunk(image[y : y + height, x : x + width], times(box, WORK))


def times(box: tuple[int, int, int, int], longest: int) -> int:
    """By how many whole times a box is shrunk so that its longer side has at most `longest` pixels."""
    return max(-(-max(box[2:]) // longest), 1)


def halves(side: int, longest: int) -> int:
    """The power of two by which `side` pixels are divided so that at most `longest` are left."""
    return 1 << max(int(np.ceil(np.log2(side / longest))), 0)


def shrunk(image: NDArray[np.uint8], whole: int) -> NDArray[np.uint8]:
    """Means of `whole` x `whole` pixels; what is left at right and bottom is dropped.

    By halves as far as that goes, as OpenCV has its fastest code for these.
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
    """The luma (H, W) of one frame, and shrunk copies of it that are made once."""

    def __init__(self, image: Image) -> None:
        self.grey: Grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        self._shrunk: dict[int, Grey] = {}

    def piece(self, box: tuple[int, int, int, int], whole: int) -> Floats:
        """(h, w) float32: the box of the frame shrunk by `whole` times, to pixels of a grid that stands still."""
        if whole not in self._shrunk:
            self._shrunk[whole] = shrunk(self.grey, whole)
        x, y, width, height = (n // whole for n in box)
        return self._shrunk[whole][y : y + height, x : x + width].astype(np.float32)


class Colours:
    """The region of one frame in colour, shrunk by halves to two sizes."""

    def __init__(self, image: Image, box: tuple[int, int, int, int]) -> None:
        x, y, width, height = box
        whole = halves(max(width, height), COLOURS)
        self.face: Image = shrunk(image[y : y + height, x : x + width], whole)
        self.whole = whole
        """Pixels of the frame in one of `face`."""
        self.ring: Image = shrunk(self.face, halves(max(width, height), RING) // whole)
