"""Findings that lie together are one place to look at; the verdict in words, and the worst second."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from reports.artifact_page.remedies import told
from reports.artifacts.events import SEVERITIES, Finding
from reports.artifacts.report import ArtifactReport
from reports.page.page import clock, count

NEAR = 0.5
"""Seconds around a finding within which a milder one belongs to the same place."""
NAMED = 3
"""Places that the verdict names."""
WEIGHT = {"low": 1, "medium": 2, "high": 4}
"""How much a finding adds to the badness of each second it lasts."""
PHRASES = {
    "missed": "the face is not swapped",
    "frozen": "the face stands still",
    "popped": "the face pops",
    "flicker": "the brightness flickers",
    "edge": "the edge shows",
    "colour": "the colour is off",
    "light": "the light is off",
    "soft": "detail is lost",
    "false_detail": "detail is there that is not in the footage",
    "checkerboard": "a checkerboard shows",
    "misaligned": "the face is out of place",
    "ghost": "a ghost of the footage's face shows",
    "jitter": "the face trembles",
    "hole": "the mask has a hole",
    "lips": "the lips do not follow",
    "expression": "the expression does not follow",
    "gaze": "the gaze does not follow",
    "pose": "the pose does not follow",
    "identity": "the face is not the source's",
}
EVERYWHERE = ("", "whole face", "edge")


@dataclass(frozen=True)
class Place:
    """One stretch of the video that is worth a look."""

    findings: tuple[Finding, ...]
    """Worst first; the first one gives the place its time."""

    @property
    def worst(self) -> Finding:
        """The finding that the place is named after."""
        return self.findings[0]

    @property
    def badness(self) -> float:
        """Weights of the findings times their seconds."""
        return sum(WEIGHT[f.severity] * (f.end - f.start) for f in self.findings)

    @property
    def span(self) -> str:
        """Its time codes."""
        return span(self.worst.start, self.worst.end)


def span(start: float, end: float) -> str:
    """0:12.0–0:14.2; one time code where both are the same."""
    first, last = clock(start), clock(end)
    return first if first == last else f"{first}–{last}"


def places(findings: tuple[Finding, ...]) -> tuple[Place, ...]:
    """The findings (worst first) put together, worst place first: by its severity, then by how much is wrong how long.

    Each place begins with the worst finding left; those that lie for half their time or more within it, NEAR seconds
    to either side, belong to it. So a finding that lasts long does not swallow what is worse, and places do not chain.
    """
    left, found = list(findings), []
    while left:
        worst = left[0]
        inside = [f for f in left[1:] if _shared(f, worst) >= 0.5]
        found.append(Place((worst, *inside)))
        left = [f for f in left[1:] if not any(f is other for other in inside)]
    return tuple(sorted(found, key=lambda p: (-SEVERITIES.index(p.worst.severity), -p.badness)))


def _shared(finding: Finding, other: Finding) -> float:
    """Share of a finding's time that lies within the other's, with NEAR around."""
    both = min(finding.end, other.end + NEAR) - max(finding.start, other.start - NEAR)
    return max(both, 0.0) / max(finding.end - finding.start, 1e-6)


def phrase(finding: Finding) -> str:
    """What one sees, and where in the face: "the edge shows at the left cheek"."""
    region = told(finding).region_name
    where = "" if region in EVERYWHERE else f" at the {region}"
    return PHRASES.get(finding.kind, finding.title) + where


def verdict(report: ArtifactReport, found: tuple[Place, ...] | None = None) -> str:
    """One sentence on the whole video; `found` are its places, None: they are looked for."""
    if not report.faces:
        return "No face was found, so nothing was measured."
    found = places(report.findings) if found is None else found
    if not found:
        return f"Nothing found in {count(report.frames)} frames."
    named = found[:NAMED]
    looks = ", ".join(f"{p.span} {phrase(p.worst)}" for p in sorted(named, key=lambda p: p.worst.start))
    if len(found) == 1:
        return f"Look at one place: {looks}."
    first = "" if len(named) == len(found) else ", first at these"
    return f"Look at {count(len(found))} places{first}: {looks}."


def by_severity(findings: tuple[Finding, ...]) -> tuple[tuple[str, int], ...]:
    """Severity and number of findings, the worst first; those without a finding too."""
    times = Counter(f.severity for f in findings)
    return tuple((severity, times[severity]) for severity in reversed(SEVERITIES))


def affected(report: ArtifactReport) -> int:
    """Frames that lie within a finding."""
    frames = report.measures["frame"].to_numpy()
    hit = np.zeros(len(frames), bool)
    for f in report.findings:
        hit |= (frames >= f.first_frame) & (frames <= f.last_frame)
    return int(hit.sum())


def worst_second(report: ArtifactReport) -> float | None:
    """Start of the second in which most is wrong, by severity and time; None without findings.

    Seconds begin at each finding's worst frame less half a second, so that a burst is not cut in two.
    """
    if not report.findings:
        return None
    at = dict(zip(report.measures["frame"].tolist(), report.measures["time"].tolist(), strict=True))
    starts = np.array([max(at.get(f.worst_frame, f.start) - 0.5, 0.0) for f in report.findings[:500]])
    badness = np.zeros(len(starts))
    for f in report.findings:
        badness += WEIGHT[f.severity] * np.clip(np.minimum(f.end, starts + 1) - np.maximum(f.start, starts), 0, None)
    return float(starts[int(badness.argmax())])
