"""Geometry of the timeline: a lane per kind and a summed one on top, 1000 units wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.artifact_page.passages import WEIGHT, Passage, span
from reports.artifacts.events import Finding
from reports.artifacts.kinds import Severity
from reports.artifacts.report import ArtifactReport
from reports.page.curves import ticks
from reports.page.page import clock

WIDTH = 1000.0
LEAST = 4.0
"""Minimum width of a mark."""
BARS = 250
"""Maximum number of bars in the summed lane; none covers less than BAR_SECONDS."""
BAR_SECONDS = 0.04
HEIGHT = {"low": 0.4, "medium": 0.7, "high": 1.0}
"""Fraction of the lane's height that a mark fills, so that severity is visible without colour."""
FULL = 8.0
"""Sum of weights at the top of the summed lane, or the highest sum if that is more."""


@dataclass(frozen=True)
class Mark:
    """One bar of a lane; it stands for several findings where they are too close to be separated."""

    x: float
    width: float
    height: float
    """0..1."""
    severity: Severity
    start: float
    """Seconds to which a click seeks."""
    passage: int
    """Index of the passage to show."""
    label: str


@dataclass(frozen=True)
class Lane:
    """All findings of one kind."""

    title: str
    marks: tuple[Mark, ...]
    findings: int


@dataclass(frozen=True)
class Timeline:
    """Timeline of the page."""

    start: float
    """Seconds at the left edge."""
    length: float
    """Seconds across."""
    summed: tuple[Mark, ...]
    lanes: tuple[Lane, ...]
    """The worst kind first."""
    empty: tuple[tuple[float, float, str], ...]
    """x, width, label of the stretches without a face."""
    ticks: tuple[tuple[float, str], ...]
    """x, time code."""


def timeline(report: ArtifactReport, found: Sequence[Passage]) -> Timeline:
    """Timeline of a report whose findings form these passages."""
    times = report.measures["time"].to_numpy(np.float64)
    start = float(times[0]) if len(times) else 0.0
    length = max(float(times[-1]) - start + 1 / report.fps, 1 / report.fps) if len(times) else 1.0
    owner = {id(f): index for index, passage in enumerate(found) for f in passage.findings}
    kinds: dict[str, list[Finding]] = {}
    for finding in report.findings:
        kinds.setdefault(finding.kind, []).append(finding)
    worst = sorted(kinds.values(), key=lambda fs: -sum(WEIGHT[f.severity] for f in fs))
    return Timeline(
        start,
        length,
        _summed(report.findings, owner, start, length),
        tuple(Lane(fs[0].title, _marks(fs, owner, start, length), len(fs)) for fs in worst),
        tuple(_empty(report.measures, start, length, 1 / report.fps)),
        _ticks(start, length),
    )


def _marks(findings: Iterable[Finding], owner: dict[int, int], start: float, length: float) -> tuple[Mark, ...]:
    """Bars in order of time; findings that begin within the minimum width of a bar share one."""
    groups: list[list[Finding]] = []
    for f in sorted(findings, key=lambda f: f.start):
        if groups and (f.start - groups[-1][0].start) / length * WIDTH < LEAST:
            groups[-1].append(f)
        else:
            groups.append([f])
    return tuple(_mark(group, owner, start, length) for group in groups)


def _mark(group: Sequence[Finding], owner: dict[int, int], start: float, length: float) -> Mark:
    worst = max(group, key=lambda f: WEIGHT[f.severity])
    x = (group[0].start - start) / length * WIDTH
    width = max((max(f.end for f in group) - start) / length * WIDTH - x, LEAST)
    more = f", and {len(group) - 1} more" if len(group) > 1 else ""
    label = f"{span(worst.start, worst.end)}: {worst.title}, {worst.severity}{more}"
    x = min(x, WIDTH - LEAST)
    passage = owner.get(id(worst), 0)
    return Mark(x, min(width, WIDTH - x), HEIGHT[worst.severity], worst.severity, worst.start, passage, label)


def _summed(findings: Sequence[Finding], owner: dict[int, int], start: float, length: float) -> tuple[Mark, ...]:
    """A bar for each stretch of time with findings; its height is the sum of their weights."""
    number = int(np.clip(length / BAR_SECONDS, 1, BARS))
    each = length / number
    weight = np.zeros(number)
    worst: list[Finding | None] = [None] * number
    for f in findings:
        first = int(np.clip((f.start - start) / each, 0, number - 1))
        last = int(np.clip(np.ceil((f.end - start) / each) - 1, first, number - 1))
        weight[first : last + 1] += WEIGHT[f.severity]
        for i in range(first, last + 1):
            worst[i] = worst[i] or f
    top = max(FULL, float(weight.max()))
    marks = []
    for i, finding in enumerate(worst):
        if finding is not None:
            at = start + i * each
            label = f"{span(at, at + each)}: {finding.title}, {finding.severity}"
            x, height = i * WIDTH / number, max(float(weight[i]) / top, 0.12)
            marks.append(Mark(x, WIDTH / number, height, finding.severity, at, owner.get(id(finding), 0), label))
    return tuple(marks)


def _empty(measures: pd.DataFrame, start: float, length: float, frame: float) -> Iterable[tuple[float, float, str]]:
    """x, width and label of stretches of frames without a face."""
    rows = np.flatnonzero(measures["x"].isna().to_numpy())
    if not len(rows):
        return
    times = measures["time"].to_numpy(np.float64)
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        a, b = float(times[run[0]]), float(times[run[-1]]) + frame
        if (b - a) / length * WIDTH >= 1:
            yield (a - start) / length * WIDTH, (b - a) / length * WIDTH, f"{span(a, b)}: no face"


def _ticks(start: float, length: float) -> tuple[tuple[float, str], ...]:
    """x and time codes of round times, without needless tenths."""
    steps = [s for s in (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600) if length / s <= 8]
    step = steps[0] if steps else ticks(0, length, 6)[1]
    first = int(np.ceil(start / step))
    at = [i * step for i in range(first, int((start + length) / step) + 1)]
    return tuple(((t - start) / length * WIDTH, clock(t).removesuffix(".0")) for t in at)
