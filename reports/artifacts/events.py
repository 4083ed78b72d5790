"""From a measure per frame to findings: flagged frames close to each other are one event, one fault is one finding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from reports.artifacts.kinds import GAP_SECONDS, Limit
from reports.artifacts.patch import REGIONS

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
    region_name: str = "whole face"
    """Where in the face it is worst, one of `reports.artifacts.patch.REGIONS`; left and right are the person's own."""
    pose: tuple[float, float] | None = None
    """Mean yaw and pitch of the flagged frames in degrees; None: not known."""
    also: tuple[str, ...] = ()
    """Other kinds that were flagged at the same time because of this one."""


SEEN_AS: dict[str, tuple[str, ...]] = {
    "missed": ("popped", "flicker", "edge", "colour", "light", "soft", "false_detail", "checkerboard", "misaligned",
               "ghost", "jitter", "hole", "expression", "gaze", "pose", "lips", "identity"),
    "frozen": ("popped", "flicker", "edge", "colour", "light", "soft", "false_detail", "misaligned", "ghost", "jitter",
               "hole", "lips", "expression", "gaze", "pose"),
    "popped": ("flicker", "edge", "colour", "light", "soft", "false_detail", "misaligned", "ghost", "jitter", "hole",
               "expression", "gaze", "pose", "identity", "checkerboard"),
    "hole": ("edge", "colour", "light", "false_detail", "soft", "ghost", "misaligned", "jitter", "flicker",
             "expression", "gaze", "checkerboard"),
    "flicker": ("colour", "edge", "light", "jitter", "misaligned", "hole", "soft", "false_detail"),
    "colour": ("edge", "light", "flicker", "soft", "false_detail", "misaligned", "jitter", "ghost", "hole"),
    "light": ("edge", "colour", "flicker", "misaligned", "jitter"),
    "checkerboard": ("false_detail", "ghost", "edge", "soft", "misaligned", "jitter"),
    "false_detail": ("misaligned", "jitter", "ghost", "hole"),
    "ghost": ("soft", "misaligned", "jitter", "edge", "colour", "expression"),
    "jitter": ("misaligned", "flicker", "edge", "hole"),
    "pose": ("misaligned", "jitter", "soft", "false_detail", "ghost", "checkerboard", "expression",
             "gaze", "edge", "colour", "hole", "light"),
    "misaligned": ("edge", "colour", "light", "jitter", "hole", "ghost", "soft"),
    "lips": ("expression", "hole", "misaligned", "jitter"),
    "expression": ("hole", "misaligned", "jitter", "colour", "lips", "soft"),
    "gaze": ("misaligned", "soft"),
    "soft": ("edge", "misaligned", "jitter"),
    "edge": ("colour", "false_detail", "soft", "light", "hole", "misaligned", "jitter"),
}  # fmt: skip
"""A fault and the kinds as which it shows besides: what else is flagged over the same time is explained by it."""
SURE = ("missed", "frozen", "popped", "ghost", "checkerboard", "lips", "expression", "gaze", "pose")
"""Faults whose measure nothing else moves: they explain what their row says, however strong it is."""
OWN = ("edge", "colour", "light")
EXCUSES = ("missed", "frozen", "popped")
"""A finding of OWN of medium severity or above is a fault of its own: besides each other only these explain it."""
STEP = 0.5
"""A face of another colour has a feathered edge as well: one is seen as an edge of its own if its step, in L*, is more
than this part of the face's difference of colour in CIEDE2000."""
SHARE = 0.6
"""A fault explains a finding if it covers so much of its time."""
WEAKER = 0.4
"""It does so only if its value, over its threshold, is at least so much of the other's; if each may explain the other,
the stronger one does."""


def group(
    measures: pd.DataFrame,
    limit: Limit,
    fps: float,
    regions: pd.DataFrame | None = None,
    pose: np.ndarray | None = None,
) -> list[Finding]:
    """The events of one kind.

    `measures` has a row per frame in order, with frame, time, x, y, width, height and the limit's measure (NaN: not
    known). `fps` is frames a second. A gap of `GAP_SECONDS` or two frames, whichever is longer, does not end an event.
    `regions` (a column per measure, index into REGIONS) and `pose` (T, 2) in degrees tell where it is.
    """
    if limit.measure not in measures:
        return []
    flagged = np.flatnonzero(measures[limit.measure].to_numpy(np.float64, na_value=np.nan) > limit.threshold)
    if not len(flagged):
        return []
    gap = max(round(GAP_SECONDS * fps), 2)
    runs = np.split(flagged, np.flatnonzero(np.diff(flagged) > gap) + 1)
    found = [_finding(measures, run, limit, fps) for run in runs if len(run) >= limit.frames]
    kept = [run for run in runs if len(run) >= limit.frames]
    return [_placed(f, run, regions, pose) for f, run in zip(found, kept, strict=True)]


def _placed(finding: Finding, run: np.ndarray, regions: pd.DataFrame | None, pose: np.ndarray | None) -> Finding:
    name, turn = "whole face", None
    if regions is not None and finding.measure in regions:
        numbers = regions[finding.measure].to_numpy(np.float64, na_value=0)[run].astype(int)
        name = REGIONS[int(np.bincount(numbers, minlength=len(REGIONS)).argmax())]
    if pose is not None:
        seen = pose[run][np.isfinite(pose[run]).all(1)]
        turn = (round(float(seen[:, 0].mean()), 1), round(float(seen[:, 1].mean()), 1)) if len(seen) else None
    return replace(finding, region_name=name, pose=turn)


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


def explained(findings: list[Finding], fps: float) -> list[Finding]:
    """Of findings over the same time those that are faults of their own; the others are named in `also`.

    Faults in the order of SEEN_AS explain what their row says. `fps` is frames a second.
    """
    gap = max(round(GAP_SECONDS * fps), 2)
    left = list(findings)
    for kind, others in SEEN_AS.items():
        for fault in [f for f in left if f.kind == kind]:
            hidden = [f for f in left if f.kind in others and _explains(fault, f, gap)]
            if hidden:
                names = {f.kind for f in hidden}.union(*(f.also for f in hidden), fault.also) - {kind}
                left = [f for f in left if f not in hidden]
                left[left.index(fault)] = replace(fault, also=tuple(sorted(names)))
    return left


def _explains(fault: Finding, other: Finding, gap: int) -> bool:
    first, last = max(fault.first_frame - gap, other.first_frame), min(fault.last_frame + gap, other.last_frame)
    if last - first + 1 < SHARE * (other.last_frame - other.first_frame + 1):
        return False
    strong = other.kind in OWN and other.severity != "low"
    if {fault.kind, other.kind} == {"colour", "edge"}:
        step, whole = (fault, other) if fault.kind == "edge" else (other, fault)
        if strong and other is whole:
            return False
        return (step.value > STEP * whole.value) == (fault.kind == "edge")
    if strong and fault.kind not in EXCUSES:
        return False
    least = 1.0 if fault.kind in SEEN_AS.get(other.kind, ()) else WEAKER
    sure = fault.kind in SURE or (fault.kind == "hole" and fault.severity != "low")
    return sure or fault.value / fault.threshold >= least * other.value / other.threshold


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, then in order of time."""
    return tuple(sorted(findings, key=lambda f: (-SEVERITIES.index(f.severity), f.start, f.kind)))
