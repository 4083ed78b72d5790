"""The artifact report of a video, put together from its parts: measures, findings and their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.artifacts.events import Finding, by_severity, explained, group
from reports.artifacts.kinds import limits
from reports.artifacts.parts import InspectedPart, table
from reports.artifacts.series import series
from reports.page.pictures import Gallery, Picture

BOX = ("x", "y", "width", "height")


BOX = ("x", "y", "width", "height")


@dataclass(frozen=True)
class ArtifactReport:
    """Everything that was measured in a video, and what was found."""

    fps: float
    has_reference: bool
    frames: int
    faces: int
    """Frames with a face."""
    measures: pd.DataFrame
    """A row per frame: frame, time (s), x, y, width, height (the face, px), a column per measure (NaN: unknown)."""
    findings: tuple[Finding, ...]
    """Worst first."""
    pictures: Mapping[tuple[str, int], Picture]
    """(kind, first frame) of a finding to its worst frame."""


def merge(parts: Sequence[InspectedPart], fps: float, has_reference: bool) -> ArtifactReport:
    """Report on a video whose frames the parts contain in order of time, however it was cut into parts."""
    fps = fps if fps > 0 else 25.0
    rows = table(row for part in parts for row in part.rows)
    found = series(rows, fps, has_reference)
    searched = limits(has_reference)
    names = [limit.measure for _, limit in searched]
    measures = pd.concat([rows[["frame", "time", *BOX]], found.measures.reindex(columns=names)], axis=1)
    flagged = [f for kind, limit in searched for f in group(measures, kind, limit, fps, found.regions, found.pose)]
    findings = by_severity(explained(flagged, fps))
    faces = int(rows["x"].notna().sum())
    return ArtifactReport(fps, has_reference, len(rows), faces, measures, findings, _pictures(parts, findings))


def _pictures(parts: Sequence[InspectedPart], findings: Sequence[Finding]) -> dict[tuple[str, int], Picture]:
    gallery = Gallery()
    for part in parts:
        for kind, stretch, value, frame, output, reference in part.gallery.rows():
            gallery.put(kind, stretch, value, Picture(frame, output, reference))
    pictures = {}
    for f in findings:
        picture = gallery.worst(f.kind, f.first_frame, f.last_frame) or gallery.nearest(f.worst_frame)
        if picture is not None:
            pictures[f.kind, f.first_frame] = picture
    return pictures
