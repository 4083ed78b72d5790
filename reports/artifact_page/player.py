"""Data for the player of the artifact page: links to the two videos, and the box of each finding over time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote

import av
import numpy as np

from reports.artifacts.events import Finding
from reports.artifacts.report import ArtifactReport

UP = 2
"""A video at most this many folders above the page is linked relatively, so that both can be moved together."""
POINTS = 60
"""Maximum number of boxes per finding; the page interpolates between them."""


@dataclass(frozen=True)
class Player:
    """Links to the videos that the page plays side by side."""

    video: str
    """URL."""
    reference: str | None
    name: str
    """File name of the video."""
    reference_name: str
    offset: float
    """Seconds by which the reference's time stamps are ahead of the video's."""


def player(page: Path, video: Path, reference: Path | None, offset: float | None = None) -> Player:
    """Player data of a page; the videos need not exist yet.

    Without `offset` the first frames of both videos are shown together, as in `inspect`; if a video cannot be read yet,
    equal time stamps are.
    """
    url = None if reference is None else link(page, reference)
    if offset is None:
        first = [None if path is None else _first(path) for path in (video, reference)]
        offset = 0.0 if first[0] is None or first[1] is None else first[1] - first[0]
    return Player(link(page, video), url, video.name, reference.name if reference else "", offset)


def _first(path: Path) -> float | None:
    """Time in seconds of a video's first frame, as browsers count it; None if the video cannot be read."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return None if stream.start_time is None else float(stream.start_time * (stream.time_base or 0))
    except (av.FFmpegError, OSError, IndexError):
        return None


def link(page: Path, video: Path) -> str:
    """URL of a video: relative to the page if it is nearby, otherwise file:// and its absolute path."""
    target, folder = Path(os.path.abspath(video)), Path(os.path.abspath(page)).parent
    if target.anchor == folder.anchor:
        relative = PurePath(os.path.relpath(target, folder))
        if sum(part == ".." for part in relative.parts) <= UP:
            return "./" + quote(relative.as_posix())
    return target.as_uri()


def track(report: ArtifactReport, finding: Finding) -> str:
    """Box of a finding over time, as JSON: [[second, x, y, width, height], ...] in pixels of the video.

    The box keeps the position in the face that it has in the worst frame, and moves with the face.
    """
    table = report.measures
    frames = table["frame"].to_numpy()
    inside = (frames >= finding.first_frame) & (frames <= finding.last_frame)
    boxes = table.loc[inside, ["time", "x", "y", "width", "height"]].to_numpy(np.float64)
    boxes = boxes[np.isfinite(boxes).all(1)]
    worst = table.loc[frames == finding.worst_frame, ["x", "y", "width", "height"]].to_numpy(np.float64)
    if not len(boxes) or not len(worst) or not np.isfinite(worst).all() or worst[0, 2] * worst[0, 3] <= 0:
        return json.dumps([[round(finding.start, 3), *finding.region]])
    boxes = boxes[np.unique(np.linspace(0, len(boxes) - 1, min(len(boxes), POINTS)).round().astype(int))]
    offset = (np.array(finding.region[:2]) - worst[0, :2]) / worst[0, 2:]
    share = np.array(finding.region[2:]) / worst[0, 2:]
    corner = boxes[:, 1:3] + offset * boxes[:, 3:]
    rows = np.hstack([corner, share * boxes[:, 3:]]).round().astype(int).tolist()
    return json.dumps([[round(t, 3), *row] for t, row in zip(boxes[:, 0].tolist(), rows, strict=True)])
