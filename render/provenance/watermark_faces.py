"""Search for the watermarks of exported models (render/dfm.py): they lie in the crop of the face, not in the frame.

Another program cuts the face out of each frame, swaps it, and lays it back under a mask. So each frame's faces are
aligned again, in every framing, and what is read in them is summed. Half of a crop is footage that the program left
alone, and the face is scaled twice, so a mark of this installation is recognised sooner than an unknown one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import EDGE, FRAMES, crop_matrix
from curate.face.backends import Detector, Landmarker
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.track import region_of_detection
from curate.footage import photos, video
from curate.footage.timeline import timeline
from curate.types import Clip, Floats, Image, Segment
from render.provenance.watermark import GRID, SLOTS, WINDOW, Reading, decoded, measure
from render.provenance.watermark_code import THRESHOLD, Known, false_positive_bound
from render.provenance.watermark_video import DAMAGED, STORED, SURE

log = logging.getLogger(__name__)

WINDOWS = 8
"""Windows of 30 frames that are searched, spread evenly over the video."""
FACES = 2
"""Faces of a frame that are searched, the largest first."""
LEAST = 48
"""Width of the crop in the frame below which nothing can be read, pixels."""


def find_in_faces(
    path: Path, known: Sequence[int] = (), detector: Detector | None = None, landmarker: Landmarker | None = None
) -> tuple[Reading, ...]:
    """The watermarks in the faces of a video or photo; none if it cannot be decoded, or the models are not there.

    The search ends at the first reading; `start` is the first frame that was searched. `known` identifiers are
    recognised in worse copies.
    """
    sums: dict[tuple[str, int], Floats] = {}
    frames = tries = 0
    words = Known(known)
    try:
        detector, landmarker = detector or LiteRTDetector(), landmarker or LiteRTLandmarker()
        clip = video.probe(path)
        for segment in _spans(clip):
            for frame in video.decode(clip, segment, view=STORED):
                frames += 1
                for place, measured in _measured(frame.image, detector, landmarker):
                    sums[place] = sums.get(place, np.zeros((SLOTS + 1, 64), np.float32)) + measured
            tries += len(sums) * (SLOTS + 1)
            if found := [r for total in sums.values() for r in decoded([total], known=words)]:
                best = max(found, key=lambda r: r.score)
                bound = false_positive_bound(best.score) if best.score >= THRESHOLD else words.bound(best.score)
                chance = min(1.0, max(tries * bound, SURE))
                return (replace(best, frames=frames, moved=True, chance=chance),)
    except DAMAGED as error:
        log.info("%s: its faces cannot be searched for a watermark (%s)", path, error)
    return ()


def _measured(image: Image, detector: Detector, landmarker: Landmarker) -> Iterator[tuple[tuple[str, int], Floats]]:
    """What the largest faces carry in every framing: their place in the sums, and the measurement."""
    luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    largest = sorted(detector.detect(image), key=lambda d: -d.width * d.height)[:FACES]
    for number, detection in enumerate(largest):
        points = landmarker.landmark(image, region_of_detection(detection)).points
        for framing in FRAMES:
            matrix = crop_matrix(points, framing, GRID)
            zoom = float(np.hypot(*matrix[0, :2]))
            if np.isfinite(matrix).all() and zoom * LEAST <= GRID:
                yield (framing, number), measure(_cut(luma, matrix))


def _cut(luma: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    crop = cv2.warpAffine(luma, matrix, (GRID, GRID), flags=cv2.INTER_LINEAR, borderMode=EDGE)
    return np.asarray(crop, np.uint8)


def _spans(clip: Clip) -> Iterator[Segment]:
    """Windows to search."""
    if clip.kind == "photos":
        yield photos.segments(clip)[0]
        return
    line = timeline(Path(clip.path))
    count = len(line.times)
    starts = np.linspace(0, max(count - WINDOW, 0), min(WINDOWS, -(-count // WINDOW))).astype(int).tolist()
    for start, after in zip(starts, [*starts[1:], count], strict=True):
        yield video.span(clip, line, start, min(start + WINDOW, after))
