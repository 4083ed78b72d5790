"""Heads with known truth for the accuracy tables, and what the networks read on them.

Constants of the scores are fitted on `calibration_heads` only; the tables report on `report_heads` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.track import region_of, region_of_detection
from curate.footage.video import decode, probe
from curate.turntable import Head, View, hopper, painted, photographed, render
from curate.types import Clip

PHOTO_CLIPS = ("d0", "d9", "d19")


def calibration_heads() -> list[Head]:
    """The heads on which constants are fitted."""
    return [*(painted(seed) for seed in range(4)), hopper()]


def report_heads(clips: Path | None, photos_only: bool = False, quick: bool = False) -> list[Head]:
    """The heads that are reported on: painted, scikit-image's photo of Eileen Collins, and frames of real clips."""
    drawn = [] if photos_only else [painted(seed) for seed in ((4,) if quick else (4, 5, 6))]
    heads = [*drawn, collins()]
    if clips is not None:
        heads += [_of_clip(probe(clips / f"{name}.mp4")) for name in PHOTO_CLIPS]
    return heads


def collins() -> Head:
    """The astronaut Eileen Collins (NASA, public domain), from scikit-image's samples."""
    import skimage.data

    return photographed(np.ascontiguousarray(skimage.data.astronaut()[:260, 80:360]), None, "collins")


def _of_clip(clip: Clip) -> Head:
    """The clip's most frontal frame among its first two seconds, as a head."""
    landmarker, detector = LiteRTLandmarker(), LiteRTDetector()
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for frame in decode(clip):
        if frame.index > 50:
            break
        found = detector.detect(frame.image) if frame.index % 5 == 0 else []
        if not found:
            continue
        region = region_of_detection(found[0])
        points = landmarker.landmark(frame.image, region).points
        middle = points[[33, 263], 0].mean()
        turned = abs(points[1, 0] - middle) / abs(points[263, 0] - points[33, 0])
        if best is None or turned < best[0]:
            best = (float(turned), frame.image, region)
    assert best is not None
    return photographed(best[1], best[2], clip.name)


@dataclass(frozen=True)
class Read:
    """What the networks saw in N rendered pictures."""

    points: np.ndarray
    """(N, 478, 3)."""
    shapes: np.ndarray
    """(N, 52)."""
    images: list[np.ndarray]
    found: np.ndarray
    """(N,) bool."""


def read(head: Head, views: list[View], size: tuple[int, int] = (360, 360), keep: bool = False) -> Read:
    """Detect and landmark the head in every view; each is a picture of its own, landmarked twice as tracking does."""
    landmarker, detector = LiteRTLandmarker(), LiteRTDetector()
    points = np.full((len(views), 478, 3), np.nan, np.float32)
    shapes = np.full((len(views), 52), np.nan, np.float32)
    images = []
    for i, view in enumerate(views):
        image = render(head, view, size)
        if keep:
            images.append(image)
        found = detector.detect(image)
        if not found:
            continue
        seen = landmarker.landmark(image, region_of_detection(found[0]))
        seen = landmarker.landmark(image, region_of(seen))
        if seen.score >= 0.5 and seen.blendshapes is not None:
            points[i], shapes[i] = seen.points, seen.blendshapes
    cv2.setNumThreads(1)
    return Read(points, shapes, images, np.isfinite(points).all((1, 2)))
