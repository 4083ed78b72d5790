"""The region around a face, cut out of output and reference alike and shrunk to working size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.align import hull, hull_mask
from curate.types import Floats, Image
from reports.measures import Zones, zones

WORK = 256
"""Longest side in pixels to which the region around the face is shrunk; smaller ones stay as they are."""
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
    output: Image
    reference: Image | None
    zones: Zones
    mask: Floats
    """(h, w) 0..1 at working size: where the face was pasted."""
    zoom: float
    """Pixels of the view in one of the frame."""


def look(
    output: Image, reference: Image | None, landmarks: NDArray[np.floating], mask: Floats | None = None
) -> View | None:
    """The region around a face at working size; None where the face is too small or out of the picture."""
    height, width = output.shape[:2]
    polygon = hull(landmarks)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    margin = AROUND * float((high - low).max())
    box = _box(low - margin, high + margin, width, height)
    x0, y0, wide, tall = box
    if min(wide, tall) < LEAST:
        return None
    seen = cut(output, box)
    zoom = seen.shape[1] / wide
    if mask is None:
        points = (np.asarray(landmarks, np.float32)[:, :2] - np.array([x0, y0], np.float32)) * zoom
        pasted = hull_mask(points, *seen.shape[:2])
    else:
        pasted = cv2.resize(
            mask[y0 : y0 + tall, x0 : x0 + wide], seen.shape[1::-1], interpolation=cv2.INTER_AREA
        ).astype(np.float32)
    at = zones(pasted)
    if at is None:
        return None
    face = _box(low, high, width, height)
    return View(face, box, seen, None if reference is None else cut(reference, box), at, pasted, zoom)


def _box(low: NDArray[np.floating], high: NDArray[np.floating], width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of whole pixels around two corners, inside the frame."""
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high), 0, (width, height)))
    return (x0, y0, x1 - x0, y1 - y0)


def cut(image: Image, box: tuple[int, int, int, int]) -> Image:
    """The box (x, y, width, height) of an image, shrunk so that its longer side is at most WORK pixels."""
    x, y, width, height = box
    region = image[y : y + height, x : x + width]
    zoom = WORK / max(width, height)
    if zoom >= 1:
        return region
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), np.uint8)
