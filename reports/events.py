"""From a measure per frame to findings: flagged frames close to each other are one event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from reports.thresholds import GAP_SECONDS, Limit

Severity = Literal["low", "medium", "high"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")


@dataclass(frozen=True)
class Finding:
    """One artifact."""

    kind: str
    title: str
    """The kind in words."""
    severity: Severity
    start: float
    """Seconds."""
    end: float
    """Seconds, end of the last frame."""
    first_frame: int
    last_frame: int
    worst_frame: int
    """The frame with the worst value; its picture is in the report."""
    measure: str
    unit: str
    value: float
    """Worst value."""
    threshold: float
    flagged: int
    """Frames above the threshold between the first and the last."""
    region: tuple[int, int, int, int]
    """x, y, width, height in pixels of the frame: the face in the worst frame."""


def group(measures: pd.DataFrame, limit: Limit, fps: float) -> list[Finding]:
    """The events of one kind.

    `measures` has a row per frame in order, with frame, time, x, y, width, height and the limit's measure (NaN: not
    known). `fps` is frames a second. A gap of `GAP_SECONDS` or two frames, whichever is longer, does not end an event.
    """
    if limit.measure not in measures:
        return []
    flagged = np.flatnonzero(measures[limit.measure].to_numpy(np.float64, na_value=np.nan) > limit.threshold)
    if not len(flagged):
        return []
    gap = max(round(GAP_SECONDS * fps), 2)
    runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > gap) + 1)
    return [_finding(measures, run, limit, fps) for run in runs if len(run) >= limit.frames]


def _finding(measures: pd.DataFrame, run: np.ndarray, limit: Limit, fps: float) -> Finding:
    values = measures[limit.measure].to_numpy(np.float64)
    worst = int(run[np.argmax(values[run])])
    value = float(values[worst])
    box = measures.iloc[worst][["x", "y", "width", "height"]].astype(int)
    frames, times = measures["frame"].to_numpy(), measures["time"].to_numpy(np.float64)
    return Finding(
        kind=limit.kind,
        title=limit.title,
        severity="high" if value >= limit.high else "medium" if value >= limit.medium else "low",
        start=float(times[run[0]]),
        end=float(times[run[-1]] + 1 / fps),
        first_frame=int(frames[run[0]]),
        last_frame=int(frames[run[-1]]),
        worst_frame=int(frames[worst]),
        measure=limit.measure,
        unit=limit.unit,
        value=value,
        threshold=limit.threshold,
        flagged=len(run),
        region=(int(box["x"]), int(box["y"]), int(box["width"]), int(box["height"])),
    )


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, then in order of time."""
    return tuple(sorted(findings, key=lambda f: (-SEVERITIES.index(f.severity), f.start, f.kind)))
