"""Inspection of any video: every frame is decoded, measured against its reference, and the report is put together."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import UsageError
from curate.extract.follow import follow
from curate.footage.paths import Footage, parse_footage
from curate.footage.shots import likeness
from curate.footage.timeline import timeline
from curate.footage.video import decode, probe, span
from curate.types import Clip, Floats, Frame, Progress, Segment, no_progress
from reports.artifacts.inspector import Inspector, shrunk_to_thumbnail
from reports.artifacts.reading import Reader
from reports.artifacts.report import ArtifactReport

log = logging.getLogger(__name__)

ALIKE, EVERY = 0.7, 25
"""Correlation of the outlines below which two frames are of different scenes (six pairs: swaps have 1.0, strangers up
to 0.5), and frames of which one is compared."""


def inspect(
    video: Path | str, reference: Path | str | None = None, workers: int = 1, progress: Progress = no_progress
) -> ArtifactReport:
    """Artifact report on any video, against its reference (the target footage) if there is one.

    The reference may have a range, as `clip.mp4@00:10-01:20`. Both videos must have the same size and the same frames,
    compared by time stamps; otherwise UsageError. With a reference the face is tracked in the reference, and the
    landmarks of the output are read at its place: expression, gaze, pose and geometry need them. Identity is read once
    a second.
    """
    video = Path(video)
    clip = probe(video)
    asked = Footage(video) if reference is None else parse_footage(str(reference))
    other = None if reference is None else _comparable(clip, _reference(asked))
    marks = _marks(follow(asked.path, None, workers, progress, asked.start, asked.end).rows)
    inspector, reader = Inspector(clip.fps, other is not None), Reader(clip.fps, 1)
    likenesses: list[float] = []
    for done, (mine, theirs) in enumerate(_pairs(clip, other), 1):
        label = mine.index if theirs is None else theirs.index
        if theirs is not None and done % EVERY == 1:
            likenesses.append(likeness(shrunk_to_thumbnail(mine.image), shrunk_to_thumbnail(theirs.image)))
        image = None if theirs is None else theirs.image
        at = marks.get(label)
        own = None if image is None else reader.landmarks(mine.index, mine.image, image, at)
        identity = reader.identity(mine.index, mine.image, at if own is None else own[0])
        inspector.add(mine.index, float(mine.time), mine.image, image, at, read=own, identity=identity)
        progress("inspect", done, clip.frames)
    if other is not None:
        check_alike(clip.path, other.clip.path, likenesses)
    return inspector.finish()


def check_alike(video: str, reference: str, likenesses: Sequence[float]) -> None:
    """Warn if a video and its reference show different scenes, from `shots.likeness` of some pairs of frames."""
    if len(likenesses) and float(np.median(likenesses)) < ALIKE:
        log.warning(
            "%s and %s show different scenes, also around the face: check that the video was made from this footage",
            video, reference,
        )  # fmt: skip


def page_facts(video: Path, reference: Path | None) -> dict[str, Any]:
    """Facts for the page about the two videos, as `reports.artifact_page.page.write` takes them."""
    asked = Footage(video) if reference is None else parse_footage(str(reference))
    facts: dict[str, Any] = {"video": str(video), "reference": None if reference is None else str(reference)}
    if (asked.start, asked.end) == (None, None):
        return facts
    theirs, mine = timeline(asked.path), timeline(video)
    first = theirs.times[theirs.between(asked.start, asked.end).start] * theirs.base
    return {**facts, "reference_path": str(asked.path), "reference_offset": float(first - mine.times[0] * mine.base)}


@dataclass(frozen=True)
class _Reference:
    """The reference: a clip, and what is compared of it."""

    clip: Clip
    segment: Segment

    @property
    def frames(self) -> int:
        return len(self.segment.pts)


def _reference(asked: Footage) -> _Reference:
    clip = probe(asked.path, asked.start, asked.end)
    if clip.kind != "video":
        raise UsageError(f"--reference {asked.path}: must be a video")
    line = timeline(asked.path)
    frames = line.between(asked.start, asked.end)
    return _Reference(clip, span(clip, line, frames.start, frames.stop))


def _comparable(clip: Clip, other: _Reference) -> _Reference:
    """The reference `other`; raises UsageError if its size or number of frames is not that of `clip`."""
    size = other.clip.width, other.clip.height
    if (clip.width, clip.height) != size:
        raise UsageError(
            f"{clip.path} is {clip.width}x{clip.height} and --reference {other.clip.path} is {size[0]}x{size[1]}: "
            "give the footage that the video was made from"
        )
    if clip.frames != other.frames:
        raise UsageError(_unlike(clip, other, f"{abs(clip.frames - other.frames)} frames have no counterpart"))
    return other


def _marks(found: pd.DataFrame) -> dict[int, Floats]:
    return dict(zip(found["frame"], found["landmarks"], strict=True)) if len(found) else {}


def _pairs(clip: Clip, other: _Reference | None) -> Iterator[tuple[Frame, Frame | None]]:
    """Frames of both videos at the same time since their first frame, within half a frame."""
    if other is None:
        yield from ((frame, None) for frame in decode(clip))
        return
    near = 0.5 / clip.fps if clip.fps else math.inf
    first: tuple[float, float] | None = None
    for mine, theirs in zip_longest(decode(clip), decode(other.clip, other.segment)):
        if mine is None or theirs is None:
            raise UsageError(_unlike(clip, other, f"the shorter one ends before frame {(mine or theirs).index}"))
        first = first or (float(mine.time), float(theirs.time))
        a, b = float(mine.time) - first[0], float(theirs.time) - first[1]
        if abs(a - b) > near:
            raise UsageError(
                _unlike(
                    clip, other, f"frame {mine.index} is at {a:.3f} s in the video and at {b:.3f} s in the reference"
                )
            )
        yield mine, theirs


def _unlike(clip: Clip, other: _Reference, where: str) -> str:
    part = " of its range" if other.frames < other.clip.frames else ""
    return (
        f"{clip.path} ({clip.frames} frames) and --reference {other.clip.path} ({other.frames} frames{part}) do not "
        f"have the same frames, compared by time stamps: {where}. Give the footage that the video was made from, or "
        f"the range of it that was rendered, as {Path(other.clip.path).name}@START-END"
    )
