"""Passages to check: findings that lie close together in time; the verdict in words, and the worst second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from curate.words import many
from reports.artifacts.events import Finding
from reports.artifacts.kinds import SEVERITIES, by_name, limits
from reports.artifacts.report import ArtifactReport
from reports.page.page import clock, count

NEAR = 0.5
"""Seconds around a finding within which a milder one belongs to the same passage."""
NAMED = 3
"""Number of passages that the verdict names."""
WEIGHT = {"low": 1, "medium": 2, "high": 4}
"""Weight of a finding in the badness of each second that it lasts."""
UNNAMED = ("", "whole face", "edge")
"""Regions that are not added to a phrase."""


@dataclass(frozen=True)
class Passage:
    """Stretch of the video that should be checked."""

    findings: tuple[Finding, ...]
    """Worst first; the first one gives the passage its time."""

    @property
    def worst(self) -> Finding:
        """The finding that the passage is named after."""
        return self.findings[0]

    @property
    def badness(self) -> float:
        """Sum of the findings' weights times their seconds."""
        return sum(WEIGHT[f.severity] * (f.end - f.start) for f in self.findings)

    @property
    def span(self) -> str:
        """Time codes of its start and end."""
        return span(self.worst.start, self.worst.end)


def span(start: float, end: float) -> str:
    """Time codes of a span as 0:12.0–0:14.2; a single one where both are the same."""
    first, last = clock(start), clock(end)
    return first if first == last else f"{first}–{last}"


def passages(findings: tuple[Finding, ...]) -> tuple[Passage, ...]:
    """Passages of the findings (given worst first), worst first: by severity, then by badness.

    Each passage begins with the worst finding left; those that lie within it for half their time or more, with NEAR
    seconds on either side, belong to it. So a long finding does not swallow a worse one, and passages do not chain.
    """
    left, found = list(findings), []
    while left:
        worst = left[0]
        inside = [f for f in left[1:] if _shared(f, worst) >= 0.5]
        found.append(Passage((worst, *inside)))
        left = [f for f in left[1:] if not any(f is other for other in inside)]
    return tuple(sorted(found, key=lambda p: (-SEVERITIES.index(p.worst.severity), -p.badness)))


def _shared(finding: Finding, other: Finding) -> float:
    """Fraction of a finding's time that lies within the other's, with NEAR on either side."""
    both = min(finding.end, other.end + NEAR) - max(finding.start, other.start - NEAR)
    return max(both, 0.0) / max(finding.end - finding.start, 1e-6)


def phrase(finding: Finding) -> str:
    """A clause that says what one sees, and where in the face: "the face jitters at the left cheek"."""
    kind, region = by_name().get(finding.kind), finding.region_name
    return (kind.phrase if kind else finding.title) + ("" if region in UNNAMED else f" at the {region}")


def verdict(report: ArtifactReport, found: tuple[Passage, ...] | None = None) -> str:
    """Verdict on the whole video in two sentences; `found` are its passages, None: they are computed."""
    if not report.faces:
        return "No face was detected, so nothing was measured."
    found = passages(report.findings) if found is None else found
    return f"{_check(found) if found else _clean(report)} {looked(report)}"


def _clean(report: ArtifactReport) -> str:
    """What is known of a video without findings: of very few frames most kinds cannot be measured."""
    searched = [limit.measure for _, limit in limits(report.has_reference)]
    known = sum(measure in report.measures and bool(report.measures[measure].notna().any()) for measure in searched)
    if 2 * known >= len(searched):
        return "No artifacts were found."
    missing = many(len(searched) - known, "kind")
    if not known:
        return f"Nothing could be measured: all {missing} of artifacts need more frames or another video."
    return f"No artifacts of {many(known, 'kind')} were found; {missing} could not be measured."


def looked(report: ArtifactReport) -> str:
    """A sentence on the number of frames that were measured; the others show no face that could be."""
    return f"Looked at {count(report.faces)} of {many(report.frames, 'frame')}."


def _check(found: tuple[Passage, ...]) -> str:
    named = found[:NAMED]
    listed = ", ".join(f"{p.span} ({phrase(p.worst)})" for p in sorted(named, key=lambda p: p.worst.start))
    if len(found) == 1:
        return f"Check one passage: {listed}."
    first = "" if len(named) == len(found) else ", these first"
    return f"Check {count(len(found))} passages{first}: {listed}."


def by_severity(findings: tuple[Finding, ...]) -> tuple[tuple[str, int], ...]:
    """Number of findings of every severity, the worst first."""
    times = Counter(f.severity for f in findings)
    return tuple((severity, times[severity]) for severity in reversed(SEVERITIES))


def affected(report: ArtifactReport) -> int:
    """Number of frames within a finding."""
    frames = report.measures["frame"].to_numpy()
    hit = np.zeros(len(frames), bool)
    for f in report.findings:
        hit |= (frames >= f.first_frame) & (frames <= f.last_frame)
    return int(hit.sum())


def worst_second(report: ArtifactReport) -> float | None:
    """Start of the second with the most artifacts, by severity and time; None without findings.

    Seconds begin half a second before the worst frame of each finding, so that a burst is not cut in two.
    """
    if not report.findings:
        return None
    at = dict(zip(report.measures["frame"].tolist(), report.measures["time"].tolist(), strict=True))
    starts = np.array([max(at.get(f.worst_frame, f.start) - 0.5, 0.0) for f in report.findings[:500]])
    badness = np.zeros(len(starts))
    for f in report.findings:
        badness += WEIGHT[f.severity] * np.clip(np.minimum(f.end, starts + 1) - np.maximum(f.start, starts), 0, None)
    return float(starts[int(badness.argmax())])
