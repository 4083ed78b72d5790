"""Search for the watermarks of exported models (render/dfm.py): they lie in the crop of the face, not in the frame.

Another program cuts the face out of each frame, swaps it, and lays it back under a mask. So each frame's faces are
aligned again, in every framing, and what lies inside the face's outline is summed. The swap's landmarks differ from
those of the footage that the program aligned, by some percent of the scale, so the place of the crop in the sum is
searched like that of a cropped frame.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import EDGE, FRAMES, crop_matrix, hull_mask, transform
from curate.face.backends import Detector, Landmarker
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.track import region_of_detection
from curate.footage import photos, video
from curate.footage.timeline import timeline
from curate.types import Clip, Floats, Image, Segment
from render.provenance import watermark_search as search
from render.provenance.watermark import SLOTS, WINDOW, Reading, decoded, projected
from render.provenance.watermark_code import THRESHOLD, Known, false_positive_bound
from render.provenance.watermark_video import DAMAGED, STORED, SURE

log = logging.getLogger(__name__)

WHOLE: search.Edges = (0.0, 1.0, 0.0, 1.0)
WINDOWS = 4
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
    state = _Found(Known(known))
    try:
        detector, landmarker = detector or LiteRTDetector(), landmarker or LiteRTLandmarker()
        clip = video.probe(path)
        for segment in _spans(clip):
            for frame in video.decode(clip, segment, view=STORED):
                state.frames += 1
                for place, whitened in _whitened(frame.image, detector, landmarker):
                    sums[place] = sums[place] + whitened if place in sums else whitened
            if found := state.read([search.moved(total, WHOLE) for total in sums.values()]):
                return found
        for total in sums.values():
            if found := state.read(search.moved(total, edges) for edges in search.places(total)):
                return found
    except DAMAGED as error:  # the search of the whole picture has reported what cannot be read
        log.debug("%s: its faces cannot be searched for a watermark (%s)", path, error)
    return ()


class _Found:
    """Readings of sums, and how many were tried."""

    def __init__(self, known: Known) -> None:
        self.known, self.tries, self.frames = known, 0, 0

    def read(self, sums: Iterable[Floats]) -> tuple[Reading, ...]:
        """The best reading of whitened grids (GRID, GRID); none: ()."""
        found: list[Reading] = []
        for total in sums:
            self.tries += SLOTS + 1
            found += decoded([projected(total)], known=self.known)
        if not found:
            return ()
        best = max(found, key=lambda reading: reading.score)
        bound = false_positive_bound(best.score) if best.score >= THRESHOLD else self.known.bound(best.score)
        return (replace(best, frames=self.frames, moved=True, chance=min(1.0, max(self.tries * bound, SURE))),)


def _whitened(image: Image, detector: Detector, landmarker: Landmarker) -> Iterator[tuple[tuple[str, int], Floats]]:
    """The largest faces in every framing: their place in the sums, and the whitened crop inside the face's outline."""
    luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    largest = sorted(detector.detect(image), key=lambda d: -d.width * d.height)[:FACES]
    for number, detection in enumerate(largest):
        points = landmarker.landmark(image, region_of_detection(detection)).points
        for framing in FRAMES:
            matrix = crop_matrix(points, framing, search.SIDE)
            zoom = float(np.hypot(*matrix[0, :2]))
            if np.isfinite(matrix).all() and zoom * LEAST <= search.SIDE:
                inside = hull_mask(transform(points, matrix), search.SIDE, search.SIDE)
                yield (framing, number), search.fine(_cut(luma, matrix)) * inside


def _cut(luma: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    crop = cv2.warpAffine(luma, matrix, (search.SIDE, search.SIDE), flags=cv2.INTER_LINEAR, borderMode=EDGE)
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
