"""Search for the watermarks in a video file."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import FacesetError
from curate.footage import photos, video
from curate.footage.picture import View
from curate.footage.timeline import timeline
from curate.types import Clip, Floats, Segment
from render.provenance import watermark_search as search
from render.provenance.watermark import SLOTS, STEP, WINDOW, Reading, decoded, measure, projected
from render.provenance.watermark_code import THRESHOLD, Known, false_positive_bound

log = logging.getLogger(__name__)

FIRST_SEARCH = 60
"""Frames at the start, in the middle and at the end that are searched first."""
LIMIT = 1800
"""Maximum number of frames that are searched; a longer video is searched in windows spread evenly over it."""
PROBED = 8
"""First frames of a span, in which bars are detected."""
SURE = 1e-12
"""Least chance of a false reading that is stated: the bound is about signs drawn at random, and no more certain."""
STORED = View(square=False, sdr=False, progressive=False)
"""The pictures in which the mark lies."""
# Errors of the libraries for damaged videos and other files.
DAMAGED = (FacesetError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError, cv2.error)


class _Search:
    """Sums and results over the spans of one video."""

    def __init__(self, moved: bool, known: Known) -> None:
        self.moved = moved
        self.known = known
        self.found: dict[int, Reading] = {}
        self.tries = 0
        self.totals: dict[bool, Floats] = {}
        """Sums of whitened frames, as they are (False) and inside their bars (True)."""
        self.frames = 0

    def span(self, frames: Iterator[NDArray[np.uint8]], first: int) -> None:
        """Read one span whose first frame has the index `first`: its windows, and all of it at once."""
        head = list(islice(frames, PROBED))
        if not head:
            return
        inside = search.box(head)
        views = {False: None} if inside is None else {False: None, True: inside}
        recent: dict[bool, deque[Floats]] = {barred: deque(maxlen=WINDOW) for barred in views}
        sums = {barred: np.zeros((SLOTS + 1, 64)) for barred in views}
        count = 0
        for count, frame in enumerate(chain(head, frames), 1):
            for barred, cut in views.items():
                picture = frame if cut is None else cut.cut(frame)
                recent[barred].append(measure(picture))
                sums[barred] += recent[barred][-1]
                if self.moved:
                    self.totals.setdefault(barred, np.zeros((search.SIDE, search.SIDE), np.float32))
                    self.totals[barred] += search.fine(picture)
            if count >= WINDOW and (count - WINDOW) % STEP == 0:
                self._add(recent, first + count - WINDOW)
        self.frames += count
        self._add(recent, first + max(count - WINDOW, 0))
        self._add({barred: deque([total.astype(np.float32)]) for barred, total in sums.items()}, first, count)

    def _add(self, rows: dict[bool, deque[Floats]], start: int, frames: int | None = None) -> None:
        for barred, measured in rows.items():
            self.tries += SLOTS + 1
            for reading in decoded(measured, start, self.known):
                self._keep(replace(reading, frames=frames or reading.frames, moved=barred))

    def _keep(self, reading: Reading) -> None:
        earlier = self.found.get(reading.identifier)
        if earlier is None or reading.score > earlier.score:
            self.found[reading.identifier] = reading

    def _bound(self, score: float) -> float:
        return false_positive_bound(score) if score >= THRESHOLD else self.known.bound(score)

    def anywhere(self) -> None:
        """Look for the frame at other places and scales, in the sums of all frames."""
        for total in self.totals.values():
            for edges in search.places(total):
                self.tries += SLOTS + 1
                for reading in decoded([projected(search.moved(total, edges))], 0, self.known):
                    self._keep(replace(reading, frames=self.frames, moved=True))

    def result(self) -> tuple[Reading, ...]:
        """The watermarks found, the latest first, each with the chance that it is none."""
        readings = [
            replace(r, chance=min(1.0, max(self.tries * self._bound(r.score), SURE))) for r in self.found.values()
        ]
        return tuple(sorted(readings, key=lambda r: (-1 if r.slot is None else r.slot, r.score), reverse=True))


def find_watermarks(path: Path, moved: bool = True, known: Sequence[int] = ()) -> tuple[Reading, ...]:
    """The watermarks in a video or photo, the latest first; none if it cannot be decoded.

    `start` of a reading is the frame's index in the video. In up to 1800 frames every window of 30 frames is read, and
    every span at once; in a longer video a marked part may be missed if it is shorter than one sixtieth of it. If
    nothing is found, `moved` looks for a cropped or padded frame, in the sum of all frames read; without it the
    frames of a shorter video are read once each. `known` identifiers are recognised in worse copies.
    """
    state = _Search(moved, Known(known))
    try:
        clip = video.probe(path)
        for segment in _spans(clip, glance=moved):
            state.span(_luma(clip, segment), segment.first_frame)
            if state.found:
                return state.result()
        state.anywhere()
    except DAMAGED as error:
        log.info("%s: cannot be searched for a watermark (%s)", path, error)
    return state.result()


def _luma(clip: Clip, segment: Segment) -> Iterator[NDArray[np.uint8]]:
    return (frame.luma for frame in video.decode(clip, segment, view=STORED))


def _spans(clip: Clip, glance: bool) -> Iterator[Segment]:
    """Spans to search, the most promising first; of a short video all frames at once without a `glance` before."""
    if clip.kind == "photos":
        yield photos.segments(clip)[0]
        return
    line = timeline(Path(clip.path))
    count = len(line.times)
    if count > (3 * FIRST_SEARCH if glance else LIMIT):
        for start in (0, (count - FIRST_SEARCH) // 2, count - FIRST_SEARCH):
            yield video.span(clip, line, start, start + FIRST_SEARCH)
    if count <= LIMIT:
        yield video.span(clip, line, 0, count)
        return
    for start in np.linspace(0, count - WINDOW, LIMIT // WINDOW).astype(int).tolist():
        yield video.span(clip, line, start, start + WINDOW)
