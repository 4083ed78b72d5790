"""The artifact report as a page: what is wrong, how much, where, with pictures, and the measures over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.artifacts import ArtifactReport
from reports.charts import Timeline, timeline
from reports.events import SEVERITIES, Finding
from reports.page import clock, count, write_page
from reports.pictures import data_uri
from reports.thresholds import Limit, limits

SHOWN = 40
"""Findings with pictures on the page; the list in the JSON is complete."""


@dataclass(frozen=True)
class _Shown:
    finding: Finding
    output: str | None
    reference: str | None


@dataclass(frozen=True)
class _Series:
    limit: Limit
    chart: Timeline
    summary: Mapping[str, Any]
    findings: int


def to_json(report: ArtifactReport) -> dict[str, Any]:
    """The report as JSON values: findings, a summary per measure, number of frames."""
    summary = {}
    for limit in limits(report.has_reference):
        values = report.measures[limit.measure].dropna()
        known = len(values) > 0
        summary[limit.measure] = {
            "median": round(float(values.median()), 4) if known else None,
            "p95": round(float(values.quantile(0.95)), 4) if known else None,
            "max": round(float(values.max()), 4) if known else None,
            "frames": len(values),
            "unit": limit.unit,
            "threshold": limit.threshold,
        }
    return {
        "findings": [_finding(f) for f in report.findings],
        "measures": summary,
        "frames": report.frames,
        "faces": report.faces,
        "fps": round(report.fps, 4),
        "reference": report.has_reference,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    rounded = {name: round(float(getattr(finding, name)), 4) for name in ("start", "end", "value")}
    return asdict(finding) | rounded | {"region": list(finding.region)}


def verdict(report: ArtifactReport) -> str:
    """One sentence on the whole video."""
    if not report.faces:
        return "No face was found, so nothing was measured."
    if not report.findings:
        return f"Nothing was found in {count(report.frames)} frames."
    times = Counter(f.severity for f in report.findings)
    levels = ", ".join(f"{times[s]} {s}" for s in reversed(SEVERITIES) if times[s])
    number = len(report.findings)
    worst = report.findings[0]
    share = _affected(report) / max(report.frames, 1)
    return (
        f"{count(number)} {'finding' if number == 1 else 'findings'} ({levels}) in {100 * share:.0f} % of the frames. "
        f"Look first at {clock(worst.start)}: {worst.title}."
    )


def _affected(report: ArtifactReport) -> int:
    frames = report.measures["frame"].to_numpy()
    hit = np.zeros(len(frames), bool)
    for f in report.findings:
        hit |= (frames >= f.first_frame) & (frames <= f.last_frame)
    return int(hit.sum())


def write(report: ArtifactReport, html_path: Path, meta: Mapping[str, Any]) -> Path:
    """Write the page and the JSON beside it (same name, .json); the page's path.

    `meta` are facts to show as they are: name to value, for example video, reference, run.
    """
    facts = {str(k): str(v) for k, v in meta.items() if v is not None}
    data = to_json(report)
    shown = [_show(report, f) for f in report.findings[:SHOWN]]
    values = {
        "title": f"Artifacts: {Path(facts['video']).name}" if "video" in facts else "Artifacts",
        "verdict": verdict(report),
        "report": report,
        "facts": facts,
        "shown": shown,
        "more": len(report.findings) - len(shown),
        "series": [_series(report, limit, data["measures"][limit.measure]) for limit in limits(report.has_reference)],
        "affected": _affected(report),
        "kinds": Counter(f.title for f in report.findings).most_common(),
        "seconds": report.frames / report.fps,
    }
    return write_page(html_path, "artifacts.html", values, data | {"meta": facts, "verdict": values["verdict"]})


def _show(report: ArtifactReport, finding: Finding) -> _Shown:
    picture = report.pictures.get((finding.kind, finding.first_frame))
    if picture is None:
        return _Shown(finding, None, None)
    return _Shown(finding, data_uri(picture.output), data_uri(picture.reference) if picture.reference else None)


def _series(report: ArtifactReport, limit: Limit, summary: Mapping[str, Any]) -> _Series:
    mine = [f for f in report.findings if f.measure == limit.measure]
    spans = [(f.start, f.end, f.severity, f"{clock(f.start)} to {clock(f.end)}: {f.severity}") for f in mine]
    values = report.measures[limit.measure].to_numpy(np.float64)
    chart = timeline(report.measures["time"].to_numpy(np.float64), values, limit.threshold, spans)
    return _Series(limit, chart, summary, len(mine))
