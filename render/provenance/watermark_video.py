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
from curate.footage import photos, video
from curate.footage.picture import View
from curate.footage.timeline import timeline
from curate.types import Clip, Segment
from render.provenance.watermark import WINDOW, Reading, read

log = logging.getLogger(__name__)

FIRST_SEARCH = 60
"""Frames at the start, in the middle and at the end that are searched first."""
LIMIT = 1800
"""Maximum number of frames that are searched; a longer video is searched in windows spread evenly over it."""
STORED = View(square=False, sdr=False, progressive=False)
"""The pictures in which the mark lies."""
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
    return (frame.luma for frame in video.decode(clip, segment, view=STORED))


def _spans(clip: Clip) -> Iterator[Segment]:
    """Spans to search, the most promising first."""
    if clip.kind == "photos":
        yield photos.segments(clip)[0]
        return
    line = timeline(Path(clip.path))
    count = len(line.times)
    if count > 3 * FIRST_SEARCH:
        for start in (0, (count - FIRST_SEARCH) // 2, count - FIRST_SEARCH):
            yield video.span(clip, line, start, start + FIRST_SEARCH)
    if count <= LIMIT:
        yield video.span(clip, line, 0, count)
        return
    for start in np.linspace(0, count - WINDOW, LIMIT // WINDOW).astype(int).tolist():
        yield video.span(clip, line, start, start + WINDOW)
