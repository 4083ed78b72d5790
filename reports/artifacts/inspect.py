"""What is wrong with a render: measures per frame against the reference, and findings.

The reference is the target footage, frame by frame. Without it only what shows by itself is looked for. `inspector.py`
measures each frame, `series.py` what needs the frames around, `events.py` makes findings of them, `thresholds.py` says
from where on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import UsageError
from curate.extract.follow import follow
from curate.footage.video import decode, probe
from curate.types import Clip, Floats, Frame, Progress, no_progress
from reports.artifacts.events import Finding, by_severity, explained, group
from reports.artifacts.inspector import Inspector
from reports.artifacts.kinds import limits
from reports.artifacts.parts import Part, table
from reports.artifacts.series import series
from reports.page.pictures import Gallery, Picture

__all__ = ["ArtifactReport", "Inspector", "Part", "inspect", "merge"]

BOX = ("x", "y", "width", "height")


@dataclass(frozen=True)
class ArtifactReport:
    """What `Inspector.finish` gives."""

    fps: float
    has_reference: bool
    frames: int
    faces: int
    """Frames in which there is a face."""
    measures: pd.DataFrame
    """A row per frame: frame, time (s), x, y, width, height (the face, px), a column per measure (NaN: unknown)."""
    findings: tuple[Finding, ...]
    """Worst first."""
    pictures: Mapping[tuple[str, int], Picture]
    """(kind, first frame) of a finding to its worst frame."""


def merge(parts: Sequence[Part], fps: float, has_reference: bool) -> ArtifactReport:
    """The report on a video whose frames the parts hold, in order of time; however it was cut into parts."""
    fps = fps if fps > 0 else 25.0
    rows = table(row for part in parts for row in part.rows)
    found = series(rows, fps, has_reference)
    kinds = limits(has_reference)
    names = [limit.measure for limit in kinds]
    measures = pd.concat([rows[["frame", "time", *BOX]], found.measures.reindex(columns=names)], axis=1)
    flagged = [f for limit in kinds for f in group(measures, limit, fps, found.regions, found.pose)]
    findings = by_severity(explained(flagged, fps))
    gallery = Gallery()
    for part in parts:
        for kind, stretch, value, frame, output, reference in part.gallery.rows():
            gallery.put(kind, stretch, value, Picture(frame, output, reference))
    pictures = {}
    for f in findings:
        picture = gallery.worst(f.kind, f.first_frame, f.last_frame) or gallery.nearest(f.worst_frame)
        if picture is not None:
            pictures[f.kind, f.first_frame] = picture
    faces = int(rows["x"].notna().sum())
    return ArtifactReport(fps, has_reference, len(rows), faces, measures, findings, pictures)


def inspect(
    video: Path, reference: Path | None = None, workers: int = 1, progress: Progress = no_progress
) -> ArtifactReport:
    """The report on any video, beside its reference if there is one.

    Both must have the same size and the same frames, compared by time stamps; else UsageError. With a reference the
    face is followed in both videos, which takes twice the time: expression, gaze and pose need the output's landmarks.
    """
    clip = probe(video)
    other = None if reference is None else probe(reference)
    if other is not None and (clip.width, clip.height) != (other.width, other.height):
        raise UsageError(
            f"{video} is {clip.width}x{clip.height} and --reference {reference} is {other.width}x{other.height}: "
            "give the footage that the video was made from"
        )
    if other is not None and clip.frames != other.frames:
        raise UsageError(_unlike(clip, other, f"{abs(clip.frames - other.frames)} frames have no partner"))
    marks = _marks(follow(reference or video, None, workers, progress))
    own = {} if other is None else _marks(follow(video, None, workers, progress))
    inspector = Inspector(clip.fps, other is not None)
    for done, (mine, theirs) in enumerate(_pairs(clip, other), 1):
        label = mine.index if theirs is None else theirs.index
        image = None if theirs is None else theirs.image
        at = marks.get(label)
        inspector.add(
            mine.index, float(mine.time), mine.image, image, at, output_landmarks=_same(at, own.get(mine.index))
        )
        progress("inspect", done, clip.frames)
    report: ArtifactReport = inspector.finish()
    return report


def _marks(found: pd.DataFrame) -> dict[int, Floats]:
    return dict(zip(found["frame"], found["landmarks"], strict=True)) if len(found) else {}


def _same(reference: Floats | None, output: Floats | None) -> Floats | None:
    """The output's landmarks if they are of the face that lies where the reference's does."""
    if reference is None or output is None:
        return None
    size = float(np.ptp(reference[:, :2], axis=0).max())
    return output if np.hypot(*(output - reference)[:, :2].mean(0)) < 0.5 * size else None


def _pairs(clip: Clip, other: Clip | None) -> Iterator[tuple[Frame, Frame | None]]:
    """Frames of both videos with the same time since their first frame, half a frame to either side."""
    if other is None:
        yield from ((frame, None) for frame in decode(clip))
        return
    near = 0.5 / clip.fps if clip.fps else math.inf
    first: tuple[float, float] | None = None
    for mine, theirs in zip_longest(decode(clip), decode(other)):
        if mine is None or theirs is None:
            raise UsageError(_unlike(clip, other, f"the shorter one ends after frame {(mine or theirs).index - 1}"))
        first = first or (float(mine.time), float(theirs.time))
        a, b = float(mine.time) - first[0], float(theirs.time) - first[1]
        if abs(a - b) > near:
            raise UsageError(
                _unlike(clip, other, f"frame {mine.index} is at {a:.3f} s in one, at {b:.3f} s in the other")
            )
        yield mine, theirs


def _unlike(clip: Clip, other: Clip, where: str) -> str:
    return (
        f"{clip.path} ({clip.frames} frames) and --reference {other.path} ({other.frames} frames) do not have the same "
        f"frames, compared by time stamps: {where}; give the footage that the video was made from"
    )
