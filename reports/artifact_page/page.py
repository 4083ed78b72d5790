"""The artifact report as a page: what is wrong, how much, where, with both videos, pictures, and what would help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import FacesetError
from reports.artifact_page import timeline as lanes
from reports.artifact_page.places import Place, affected, by_severity, phrase, places, span, verdict, worst_second
from reports.artifact_page.player import Player, player, track
from reports.artifact_page.remedies import Context, coverage_of, remedy, told, typed
from reports.artifacts.events import Finding
from reports.artifacts.kinds import Limit, limits
from reports.artifacts.report import ArtifactReport
from reports.page.grids import Timeline, timeline
from reports.page.page import clock, figure, static, write_page
from reports.page.pictures import data_uri, difference

SHOWN = 60
"""Places with a card on the page; the list in the JSON is complete."""
LISTED = 6
"""Findings of one place on its card."""
PICTURES = 4_200_000
"""Bytes of pictures on the page at most; the mildest places go without."""
HULL = math.sqrt(math.pi / 4)
"""The root of a face's hull area over that of its box: an ellipse's."""
ASIDE = ("reference_path", "video_path", "source_faceset", "settings", "reference_offset")
"""Keys of `meta` that are not shown as they are."""

__all__ = ["to_json", "verdict", "write"]


@dataclass(frozen=True)
class _Line:
    """One finding of a place."""

    finding: Finding
    title: str
    words: str
    also: str
    remedy: tuple[tuple[str, bool], ...]
    """Text, and whether it is typed."""
    track: str
    """Where it is, as JSON for the player."""


@dataclass(frozen=True)
class _Kind:
    """All findings of a kind."""

    title: str
    severities: tuple[tuple[str, int], ...]
    seconds: float
    remedy: tuple[tuple[str, bool], ...]
    """Of the worst of them."""


@dataclass(frozen=True)
class _Card:
    place: Place
    title: str
    worst_time: float
    """Seconds, of the worst frame."""
    lines: tuple[_Line, ...]
    more: int
    output: str | None
    reference: str | None
    difference: str | None


@dataclass(frozen=True)
class _Series:
    limit: Limit
    chart: Timeline
    summary: Mapping[str, Any]
    findings: int


def to_json(report: ArtifactReport, context: Context | None = None) -> dict[str, Any]:
    """The report as JSON values: findings with time codes and remedies, a summary per measure, number of frames."""
    summary = {}
    for limit in _measured(report):
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
        "findings": [_finding(f, context) for f in report.findings],
        "measures": summary,
        "frames": report.frames,
        "faces": report.faces,
        "fps": round(report.fps, 4),
        "reference": report.has_reference,
    }


def _finding(finding: Finding, context: Context | None) -> dict[str, Any]:
    rounded = {name: round(float(getattr(finding, name)), 4) for name in ("start", "end", "value")}
    said = {"time": span(finding.start, finding.end), "remedy": remedy(finding, context)}
    return asdict(finding) | rounded | {"region": list(finding.region)} | said


def _measured(report: ArtifactReport) -> list[Limit]:
    """The measures that the table has, each once."""
    found = {limit.measure: limit for limit in limits(report.has_reference) if limit.measure in report.measures}
    return list(found.values())


def write(report: ArtifactReport, html_path: Path, meta: Mapping[str, Any]) -> Path:
    """Write the page and the JSON beside it (same name, .json); the page's path.

    `meta` are facts to show as they are: name to value, for example video, reference, run. These keys are used, not
    shown: video_path and reference_path (where the two videos lie; without them `video` is looked for beside the page,
    and `reference` is taken if it is a file), reference_offset (seconds that the reference's time stamps are ahead of
    the video's), source_faceset (its folder or the Faceset: how many faces it has of a pose) and settings (the
    render's, by the names of their flags). A source faceset that cannot be read is left out.
    """
    facts = {str(k): str(v) for k, v in meta.items() if v is not None and k not in ASIDE}
    context = _context(report, meta)
    found = places(report.findings)
    data = to_json(report, context)
    bad = worst_second(report)
    values = {
        "title": f"Artifacts: {Path(facts['video']).name}" if "video" in facts else "Artifacts",
        "verdict": verdict(report, found),
        "report": report,
        "facts": facts,
        "player": _player(report, html_path, meta),
        "timeline": lanes.timeline(report, found),
        "cards": _cards(report, found, context),
        "found": found,
        "severities": by_severity(report.findings),
        "kinds": _kinds(report, context),
        "worst_second": bad,
        "series": [_series(report, limit, data["measures"][limit.measure]) for limit in _measured(report)],
        "affected": affected(report),
        "artifacts_css": static("artifacts.css"),
        "artifacts_js": static("artifacts.js"),
    }
    more = {"meta": facts, "verdict": values["verdict"], "affected": values["affected"], "worst_second": bad}
    return write_page(html_path, "artifacts.html", values, data | more)


def _player(report: ArtifactReport, page: Path, meta: Mapping[str, Any]) -> Player | None:
    video, reference = meta.get("video_path"), meta.get("reference_path")
    if video is None and meta.get("video"):
        beside = page.parent / Path(str(meta["video"])).name
        given = Path(str(meta["video"]))
        video = given if given.is_file() and not beside.is_file() else beside
    if video is None:
        return None
    if reference is None and meta.get("reference") and Path(str(meta["reference"])).is_file():
        reference = meta["reference"]
    offset = meta.get("reference_offset")
    return player(page, Path(video), Path(reference) if reference and report.has_reference else None, offset)


def _context(report: ArtifactReport, meta: Mapping[str, Any]) -> Context:
    source, coverage = meta.get("source_faceset"), None
    if source is not None:
        try:
            coverage = coverage_of(source if isinstance(source, Faceset) else open_faceset(Path(source)))
        except FacesetError:
            coverage = None
    boxes = report.measures[["frame", "width", "height"]].dropna()
    size = HULL * np.sqrt(boxes["width"].to_numpy(np.float64) * boxes["height"].to_numpy(np.float64))
    return Context(meta.get("settings") or {}, coverage, dict(zip(boxes["frame"].tolist(), size.tolist(), strict=True)))


def _cards(report: ArtifactReport, found: tuple[Place, ...], context: Context) -> list[_Card]:
    cards, spent = [], 0
    times = dict(zip(report.measures["frame"].tolist(), report.measures["time"].tolist(), strict=True))
    for place in found[:SHOWN]:
        worst = place.worst
        lines = tuple(_line(report, f, context) for f in place.findings[:LISTED])
        picture = report.pictures.get((worst.kind, worst.first_frame))
        title, more = phrase(worst), len(place.findings) - len(lines)
        shots: list[bytes | None] = [None, None, None]
        if picture is not None:
            shots[:2] = picture.output, picture.reference
            if picture.reference is not None:
                shots[2] = difference(picture.output, picture.reference)
        cost = sum(len(s) * 4 // 3 for s in shots if s)
        if spent + cost > PICTURES:
            shots, cost = [None, None, None], 0
        spent += cost
        uris = [data_uri(s) if s else None for s in shots]
        when = float(times.get(worst.worst_frame, worst.start))
        cards.append(_Card(place, title[0].upper() + title[1:], when, lines, more, *uris))
    return cards


def _line(report: ArtifactReport, finding: Finding, context: Context) -> _Line:
    extra = told(finding)
    known = {limit.kind: limit.title for limit in limits(report.has_reference)}
    also = ", ".join(known.get(kind, kind.replace("_", " ")) for kind in extra.also)
    words = phrase(finding)
    return _Line(
        finding,
        words[0].upper() + words[1:],
        _against(finding),
        also,
        typed(remedy(finding, context)),
        track(report, finding),
    )


def _kinds(report: ArtifactReport, context: Context) -> list[_Kind]:
    """The kinds in order of their worst findings."""
    kinds: dict[str, list[Finding]] = {}
    for finding in report.findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return [
        _Kind(fs[0].title, by_severity(tuple(fs)), sum(f.end - f.start for f in fs), typed(remedy(fs[0], context)))
        for fs in kinds.values()
    ]


def _against(finding: Finding) -> str:
    """The worst value against the threshold, in words."""
    unit = "" if finding.unit in ("x", "") else f" {finding.unit}"
    value, limit = f"{figure(finding.value)}{unit}", f"{figure(finding.threshold)}{unit}"
    measure = finding.measure.replace("_", " ").capitalize()
    ratio = finding.value / finding.threshold if finding.threshold > 0 else math.nan
    if not math.isfinite(ratio):
        return f"{measure} {value}, the limit is {limit}"
    if ratio < 1.1:
        return f"{measure} {value}, just above the limit of {limit}"
    return f"{measure} {value}, {figure(ratio, 2)} times the limit of {limit}"


def _series(report: ArtifactReport, limit: Limit, summary: Mapping[str, Any]) -> _Series:
    mine = [f for f in report.findings if f.measure == limit.measure]
    spans = [(f.start, f.end, f.severity, f"{clock(f.start)} to {clock(f.end)}: {f.severity}") for f in mine]
    values = report.measures[limit.measure].to_numpy(np.float64)
    chart = timeline(report.measures["time"].to_numpy(np.float64), values, limit.threshold, spans[:500])
    return _Series(limit, chart, summary, len(mine))
