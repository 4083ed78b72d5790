"""Findings from a measure per frame: nearby flagged frames are one event, and one fault is one finding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reports.artifacts.kinds import GAP_SECONDS, SEVERITIES, Kind, Limit, Severity, by_name
from reports.artifacts.patch import REGIONS


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
    """Seconds, at the end of the last frame."""
    first_frame: int
    last_frame: int
    worst_frame: int
    """Frame with the worst value; its picture is in the report."""
    measure: str
    unit: str
    value: float
    """Worst value."""
    threshold: float
    flagged: int
    """Frames above the threshold between the first and the last."""
    region: tuple[int, int, int, int]
    """x, y, width, height in pixels of the frame: the face in the worst frame."""
    region_name: str = "whole face"
    """Where in the face it is worst, one of `patch.REGIONS`; left and right are the person's own."""
    pose: tuple[float, float] | None = None
    """Mean yaw and pitch of the flagged frames in degrees; None: not known."""
    also: tuple[str, ...] = ()
    """Names of other kinds that were flagged at the same time because of this one."""


STEP = 0.5
"""A face of another colour has a feathered edge as well: it counts as an edge of its own if its step in L* exceeds
this fraction of the face's colour difference in CIEDE2000."""
SHARE = 0.6
"""A fault explains a finding if it covers at least this fraction of its time."""
WEAKER = 0.4
"""It does so only if its value over its threshold is at least this fraction of the other's; if each may explain the
other, the stronger one does."""


def group(
    measures: pd.DataFrame,
    kind: Kind,
    limit: Limit,
    fps: float,
    regions: pd.DataFrame | None = None,
    pose: np.ndarray | None = None,
) -> list[Finding]:
    """Findings of one kind, in order of time.

    `measures` has a row per frame in order, with frame, time, x, y, width, height and the limit's measure (NaN: not
    known). `fps` is frames per second. A gap of `GAP_SECONDS` or two frames, whichever is longer, does not end an
    event. `regions` (a column per measure, index into REGIONS) and `pose` (T, 2) in degrees say where it is.
    """
    if limit.measure not in measures:
        return []
    flagged = np.flatnonzero(measures[limit.measure].to_numpy(np.float64, na_value=np.nan) > limit.low)
    if not len(flagged):
        return []
    runs = [
        run for run in np.split(flagged, np.flatnonzero(np.diff(flagged) > _gap(fps)) + 1) if len(run) >= limit.frames
    ]
    found = [_finding(measures, run, kind, limit, fps) for run in runs]
    return [
        replace(f, region_name=_region(run, limit, regions), pose=_mean_pose(run, pose))
        for f, run in zip(found, runs, strict=True)
    ]


def _gap(fps: float) -> int:
    """Frames between flagged frames of one event, at most."""
    return max(round(GAP_SECONDS * fps), 2)


def _region(run: np.ndarray, limit: Limit, regions: pd.DataFrame | None) -> str:
    """The region that is worst in most of the frames."""
    if limit.region or regions is None or limit.measure not in regions:
        return limit.region or "whole face"
    numbers = regions[limit.measure].to_numpy(np.float64, na_value=0)[run].astype(int)
    return REGIONS[int(np.bincount(numbers, minlength=len(REGIONS)).argmax())]


def _mean_pose(run: np.ndarray, pose: np.ndarray | None) -> tuple[float, float] | None:
    known = np.empty((0, 2)) if pose is None else pose[run][np.isfinite(pose[run]).all(1)]
    return (round(float(known[:, 0].mean()), 1), round(float(known[:, 1].mean()), 1)) if len(known) else None


def _finding(measures: pd.DataFrame, run: np.ndarray, kind: Kind, limit: Limit, fps: float) -> Finding:
    values = measures[limit.measure].to_numpy(np.float64)
    worst = int(run[np.argmax(values[run])])
    value = float(values[worst])
    box = measures.iloc[worst][["x", "y", "width", "height"]].astype(int)
    frames, times = measures["frame"].to_numpy(), measures["time"].to_numpy(np.float64)
    return Finding(
        kind=kind.name,
        title=kind.title,
        severity=limit.severity(value),
        start=float(times[run[0]]),
        end=float(times[run[-1]] + 1 / fps),
        first_frame=int(frames[run[0]]),
        last_frame=int(frames[run[-1]]),
        worst_frame=int(frames[worst]),
        measure=limit.measure,
        unit=limit.unit,
        value=value,
        threshold=limit.low,
        flagged=len(run),
        region=(int(box["x"]), int(box["y"]), int(box["width"]), int(box["height"])),
    )


def explained(findings: list[Finding], fps: float) -> list[Finding]:
    """Findings that are faults of their own; those that another one explains are named in its `also`.

    Kinds explain each other in the order of KINDS. `fps` is frames per second.
    """
    kinds, left = by_name(), list(findings)
    for kind in kinds.values():
        for fault in [f for f in left if f.kind == kind.name]:
            hidden = [f for f in left if f.kind in kind.explains and _explains(fault, f, kinds, _gap(fps))]
            if hidden:
                names = {f.kind for f in hidden}.union(*(f.also for f in hidden), fault.also) - {kind.name}
                left = [f for f in left if f not in hidden]
                left[left.index(fault)] = replace(fault, also=tuple(sorted(names)))
    return left


def _explains(fault: Finding, other: Finding, kinds: dict[str, Kind], gap: int) -> bool:
    first, last = max(fault.first_frame - gap, other.first_frame), min(fault.last_frame + gap, other.last_frame)
    if last - first + 1 < SHARE * (other.last_frame - other.first_frame + 1):
        return False
    cause, effect = kinds[fault.kind], kinds[other.kind]
    strong = effect.independent and other.severity != "low"
    if {cause.name, effect.name} == {"colour", "edge"}:
        step, whole = (fault, other) if cause.name == "edge" else (other, fault)
        if strong and other is whole:
            return False
        return (step.value > STEP * whole.value) == (cause.name == "edge")
    if strong and not cause.overrides_all:
        return False
    if cause.certain_from and SEVERITIES.index(fault.severity) >= SEVERITIES.index(cause.certain_from):
        return True
    least = 1.0 if cause.name in effect.explains else WEAKER
    return fault.value / fault.threshold >= least * other.value / other.threshold


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """The findings sorted by severity, worst first, then by time."""
    return tuple(sorted(findings, key=lambda f: (-SEVERITIES.index(f.severity), f.start, f.kind)))
