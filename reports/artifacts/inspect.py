"""Inspection of any video: every frame is decoded, measured against its reference, and the report is put together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import UsageError
from curate.extract.follow import follow
from curate.footage.video import decode, probe
from curate.types import Clip, Floats, Frame, Progress, no_progress
from reports.artifacts.inspector import Inspector
from reports.artifacts.report import ArtifactReport

SAME_FACE = 0.5
"""Fraction of the face's size: landmarks of the output that lie further from the reference's belong to another face."""


def inspect(
    video: Path, reference: Path | None = None, workers: int = 1, progress: Progress = no_progress
) -> ArtifactReport:
    """Artifact report on any video, against its reference (the target footage) if there is one.

    Both videos must have the same size and the same frames, compared by time stamps; otherwise UsageError. With a
    reference the face is tracked in both videos, which takes twice the time: expression, gaze and pose need the
    landmarks of the output.
    """
    clip = probe(video)
    other = None if reference is None else _comparable(clip, probe(reference))
    marks = _marks(follow(reference or video, None, workers, progress).rows)
    own = {} if other is None else _marks(follow(video, None, workers, progress).rows)
    inspector = Inspector(clip.fps, other is not None)
    for done, (mine, theirs) in enumerate(_pairs(clip, other), 1):
        label = mine.index if theirs is None else theirs.index
        image = None if theirs is None else theirs.image
        at = marks.get(label)
        inspector.add(
            mine.index, float(mine.time), mine.image, image, at, output_landmarks=_same(at, own.get(mine.index))
        )
        progress("inspect", done, clip.frames)
    return inspector.finish()


def _comparable(clip: Clip, other: Clip) -> Clip:
    """The reference `other`; raises UsageError if its size or number of frames is not that of `clip`."""
    if (clip.width, clip.height) != (other.width, other.height):
        raise UsageError(
            f"{clip.path} is {clip.width}x{clip.height} and --reference {other.path} is {other.width}x{other.height}: "
            "give the footage that the video was made from"
        )
    if clip.frames != other.frames:
        raise UsageError(_unlike(clip, other, f"{abs(clip.frames - other.frames)} frames have no counterpart"))
    return other


def _marks(found: pd.DataFrame) -> dict[int, Floats]:
    return dict(zip(found["frame"], found["landmarks"], strict=True)) if len(found) else {}


def _same(reference: Floats | None, output: Floats | None) -> Floats | None:
    """The output's landmarks if they belong to the face at the place of the reference's; else None."""
    if reference is None or output is None:
        return None
    size = float(np.ptp(reference[:, :2], axis=0).max())
    return output if np.hypot(*(output - reference)[:, :2].mean(0)) < SAME_FACE * size else None


def _pairs(clip: Clip, other: Clip | None) -> Iterator[tuple[Frame, Frame | None]]:
    """Frames of both videos at the same time since their first frame, within half a frame."""
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
                _unlike(
                    clip, other, f"frame {mine.index} is at {a:.3f} s in the video and at {b:.3f} s in the reference"
                )
            )
        yield mine, theirs


def _unlike(clip: Clip, other: Clip, where: str) -> str:
    return (
        f"{clip.path} ({clip.frames} frames) and --reference {other.path} ({other.frames} frames) do not have the same "
        f"frames, compared by time stamps: {where}. Give the footage that the video was made from"
    )
