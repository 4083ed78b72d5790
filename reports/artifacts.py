"""What is wrong with a render: measures per frame against the reference, and findings.

The reference is the target footage, frame by frame. Without it only what shows by itself is looked for. Measures are
in `measures.py`, thresholds in `thresholds.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.follow import follow
from curate.types import Clip, Floats, Frame, Image, Progress, no_progress
from curate.video import decode, probe
from reports import measures as m
from reports.events import Finding, by_severity, group
from reports.pictures import Gallery, Picture
from reports.thresholds import CUT, MOTION, SWAP, limits
from reports.view import View, cut, look

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


class Inspector:
    """Takes a video's frames one by one in order, then gives the report.

    `fps` is frames a second; `has_reference` says whether `add` will be given the reference's frame.
    """

    def __init__(self, fps: float, has_reference: bool) -> None:
        self._fps = fps if fps > 0 else 25.0
        self._has_reference = has_reference
        self._limits = {limit.measure: limit for limit in limits(has_reference)}
        self._rows: list[dict[str, float]] = []
        self._gallery = Gallery()
        self._before: tuple[Image, Image | None] | None = None
        self._small: Floats | None = None
        self._light: list[float] = []

    def add(
        self,
        index: int,
        time: float,
        output: Image,
        reference: Image | None,
        landmarks: NDArray[np.floating] | None,
        mask: Floats | None = None,
    ) -> None:
        """One frame: (H, W, 3) uint8 RGB; landmarks (N, 2|3) in its pixels, None where there is no face.

        `mask` (H, W) in 0..1 is where the face was pasted; without it the hull of the landmarks is taken.
        """
        if self._has_reference and (reference is None or reference.shape != output.shape):
            raise ValueError(f"frame {index}: the reference has another size than the output, or is missing")
        row: dict[str, float] = {"frame": index, "time": time}
        self._noticecut(output if reference is None else reference)
        view = None if landmarks is None else look(output, reference, landmarks, mask)
        if view is None:
            self._light = []
        else:
            row |= dict(zip(BOX, view.face, strict=True)) | self._measure(view)
            self._keep_pictures(index, row, view)
        self._rows.append(row)
        self._before = (output, reference)

    def finish(self) -> ArtifactReport:
        """The report on all frames that were added."""
        names = ["frame", "time", *BOX, *self._limits]
        table = pd.DataFrame(self._rows).reindex(columns=[*names, "difference", "face_over_ring"])
        if self._has_reference:
            table["missed"] = missed(table["difference"])
        else:
            usual = table["face_over_ring"].median()
            table["detail_lost"] = (usual - table["face_over_ring"]).clip(lower=0)
        table = table[names].astype({"frame": "int64"})
        found = [f for limit in limits(self._has_reference) for f in group(table, limit, self._fps)]
        pictures = {}
        for finding in found:
            picture = self._gallery.worst(finding.kind, finding.first_frame, finding.last_frame)
            if picture is not None:
                pictures[finding.kind, finding.first_frame] = picture
        faces = int(table["x"].notna().sum())
        return ArtifactReport(self._fps, self._has_reference, len(table), faces, table, by_severity(found), pictures)

    def _noticecut(self, image: Image) -> None:
        small = cv2.resize(m.luma(image[::4, ::4]), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._small is not None and float(np.abs(small - self._small).mean()) > CUT:
            self._light, self._before = [], None
        self._small = small

    def _measure(self, view: View) -> dict[str, float]:
        at, output = view.zones, m.luma(view.output)
        face = m.light(output, at.inside) - m.light(output, at.ring)
        still = self._motion(view)
        if view.reference is None:
            self._light = [*self._light[-2:], face]
            return {
                "flicker": _bend(self._light),
                "edge_line": m.edge_alone(output, at),
                "face_over_ring": m.sharpness_alone(output, at),
                "frozen": still,
            }
        reference = m.luma(view.reference)
        mine, theirs = m.lab(view.output), m.lab(view.reference)
        self._light = [*self._light[-1:], face - m.light(reference, at.inside) + m.light(reference, at.ring)]
        octaves = m.sharpness(output, reference, at)
        return {
            "flicker": 100 * abs(self._light[-1] - self._light[-2]) if len(self._light) > 1 else math.nan,
            "edge": m.edge(mine, theirs, at),
            "colour": m.colour(mine, theirs, at),
            "detail_lost": max(-octaves, 0.0),
            "false_detail": max(octaves, 0.0),
            "misalignment": m.misalignment(output, reference, at),
            "difference": m.difference(mine, theirs, at),
            "frozen": still,
        }

    def _motion(self, view: View) -> float:
        """Per cent of the movement that should be there and is not; NaN where hardly any should be."""
        if self._before is None:
            return math.nan
        at = view.zones
        before = [None if b is None else m.luma(cut(b, view.box)) for b in self._before]
        assert before[0] is not None
        moved = m.motion(m.luma(view.output), before[0], at.inside)
        if view.reference is None or before[1] is None:
            due = m.motion(m.luma(view.output), before[0], at.ring)
        else:
            due = m.motion(m.luma(view.reference), before[1], at.inside)
        return 100 * max(1 - moved / due, 0.0) if due >= MOTION else math.nan

    def _keep_pictures(self, index: int, row: dict[str, float], view: View) -> None:
        for measure, limit in self._limits.items():
            value = row.get(measure, math.nan)
            if measure == "missed" and row["difference"] < SWAP:
                self._gallery.offer(limit.kind, index, -row["difference"], view.output, view.reference)
            elif value > limit.threshold:
                self._gallery.offer(limit.kind, index, value, view.output, view.reference)


def _bend(light: list[float]) -> float:
    """Per cent by which the middle of three logarithms stands out from its neighbours."""
    return 100 * abs(light[0] - 2 * light[1] + light[2]) / 2 if len(light) == 3 else math.nan


def missed(difference: pd.Series) -> pd.Series:
    """Per cent of a swap's usual difference from the reference that each frame lacks; NaN if this is no swap."""
    usual = float(difference.median()) if difference.notna().any() else 0.0
    if usual < SWAP:
        return pd.Series(np.nan, index=difference.index)
    return (100 * (1 - difference / usual)).clip(lower=0)


def inspect(
    video: Path, reference: Path | None = None, workers: int = 1, progress: Progress = no_progress
) -> ArtifactReport:
    """The report on any video, beside its reference if there is one.

    Both must have the same size and the same frames, compared by time stamps; else UsageError.
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
    found = follow(reference or video, None, workers, progress)
    marks = dict(zip(found["frame"], found["landmarks"], strict=True)) if len(found) else {}
    inspector = Inspector(clip.fps, other is not None)
    for done, (mine, theirs) in enumerate(_pairs(clip, other), 1):
        label = mine.index if theirs is None else theirs.index
        image = None if theirs is None else theirs.image
        inspector.add(mine.index, float(mine.time), mine.image, image, marks.get(label))
        progress("inspect", done, clip.frames)
    return inspector.finish()


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
