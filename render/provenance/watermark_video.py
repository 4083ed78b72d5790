"""Search for the watermark in a video file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import FacesetError
from curate.footage import video
from curate.types import Clip, Segment
from render.provenance.watermark import WINDOW, Reading, read

log = logging.getLogger(__name__)

FIRST_SEARCH = 60
"""Frames at the start, in the middle and at the end that are searched first."""
LIMIT = 1800
"""Maximum number of frames that are searched; a longer video is searched in windows spread evenly over it."""
# Errors of the libraries for damaged videos and other files.
DAMAGED = (FacesetError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError, cv2.error)


def find_watermark(path: Path) -> Reading | None:
    """First watermark found in a video or photo; None if there is none or the file cannot be decoded.

    `start` of the reading is the frame's index in the video. In up to 1800 frames every window is searched; in a longer
    video a marked part may be missed if it is shorter than one sixtieth of it.
    """
    try:
        clip = video.probe(path)
        for segment in _spans(clip):
            found = read(_luma(clip, segment))
            if found is not None:
                return replace(found, start=segment.first_frame + found.start)
    except DAMAGED as error:
        log.info("%s: cannot be searched for a watermark (%s)", path, error)
    return None


def _luma(clip: Clip, segment: Segment) -> Iterator[NDArray[np.uint8]]:
    return (frame.luma for frame in video.decode(clip, segment))


def _spans(clip: Clip) -> Iterator[Segment]:
    """Spans to search, the most promising first."""
    whole = video.segments(clip, float("inf"))[0]
    count = len(whole.pts)
    if count > 3 * FIRST_SEARCH and clip.kind == "video":
        for start in (0, (count - FIRST_SEARCH) // 2, count - FIRST_SEARCH):
            yield _cut(whole, start, start + FIRST_SEARCH)
    if count <= LIMIT:
        yield whole
        return
    for start in np.linspace(0, count - WINDOW, LIMIT // WINDOW).astype(int).tolist():
        yield _cut(whole, start, start + WINDOW)


def _cut(whole: Segment, start: int, end: int) -> Segment:
    pts = whole.pts[start:end]
    return replace(whole, seek=pts[0], start=pts[0], end=pts[-1] + 1, first_frame=whole.first_frame + start, pts=pts)
