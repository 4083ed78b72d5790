"""Artifact report as a page and as JSON: verdict, player, timeline, findings with pictures and remedies, measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import FacesetError
from reports.artifact_page import timeline as kind_timeline
from reports.artifact_page.passages import Passage, affected, by_severity, passages, phrase, span, verdict, worst_second
from reports.artifact_page.player import Player, player, track
from reports.artifact_page.remedies import Context, remedy, source_poses, typed
from reports.artifacts.events import Finding
from reports.artifacts.kinds import Kind, Limit, by_name, limits
from reports.artifacts.report import ArtifactReport
from reports.page.grids import Timeline, timeline
from reports.page.page import clock, figure, static, write_page
from reports.page.pictures import data_uri, difference

SHOWN = 60
"""Maximum number of passages with a card on the page; the list in the JSON is complete."""
LISTED = 6
"""Maximum number of findings on one card."""
PICTURES = 4_200_000
"""Maximum bytes of pictures on the page; the mildest passages have none."""
HULL = math.sqrt(math.pi / 4)
"""Square root of the area of a face's hull over that of its box, taken as an ellipse."""
ASIDE = ("reference_path", "video_path", "source_faceset", "settings", "reference_offset")
"""Keys of `meta` that are not shown on the page."""


@dataclass(frozen=True)
class _Entry:
    """One finding on a card."""

    finding: Finding
    label: str
    """Short title, for the box in the player."""
    title: str
    value: str
    """The worst value against the limit."""
    also: str
    """Titles of the kinds that it explains."""
    remedy: tuple[tuple[str, bool], ...]
    """Pieces of text, and whether they are to be typed."""
    track: str
    """Its box over time, as JSON for the player."""


@dataclass(frozen=True)
class _KindRow:
    """All findings of a kind, in the table."""

    title: str
    severities: tuple[tuple[str, int], ...]
    seconds: float
    remedy: tuple[tuple[str, bool], ...]
    """Remedy for the worst of them."""


@dataclass(frozen=True)
class _Card:
    """One passage."""

    passage: Passage
    title: str
    worst_time: float
    """Time in seconds of the worst frame."""
    entries: tuple[_Entry, ...]
    more: int
    """Number of findings that are not listed."""
    output: str | None
    reference: str | None
    difference: str | None


@dataclass(frozen=True)
class _MeasureRow:
    """One measure, with its chart."""

    kind: Kind
    limit: Limit
    chart: Timeline
    summary: Mapping[str, Any]
    findings: int


def to_json(report: ArtifactReport, context: Context | None = None) -> dict[str, Any]:
    """Report as JSON values: findings with time codes and remedies, a summary per measure, number of frames."""
    summary = {}
    for _, limit in _measured(report):
        values = report.measures[limit.measure].dropna()
        known = len(values) > 0
        summary[limit.measure] = {
            "median": round(float(values.median()), 4) if known else None,
            "p95": round(float(values.quantile(0.95)), 4) if known else None,
            "max": round(float(values.max()), 4) if known else None,
            "frames": len(values),
            "unit": limit.unit,
            "threshold": limit.low,
        }
    return {
        "findings": [_finding(f, context) for f in report.findings],
        "measures": summary,
        "frames": report.frames,
        "faces": report.faces,
        "looked_at": report.faces,
        "fps": round(report.fps, 4),
        "reference": report.has_reference,
    }


def _finding(finding: Finding, context: Context | None) -> dict[str, Any]:
    rounded = {name: round(float(getattr(finding, name)), 4) for name in ("start", "end", "value")}
    words = {"time": span(finding.start, finding.end), "remedy": remedy(finding, context)}
    return asdict(finding) | rounded | {"region": list(finding.region)} | words


def _measured(report: ArtifactReport) -> list[tuple[Kind, Limit]]:
    """Kinds whose measure the report has, with their limits."""
    return [pair for pair in limits(report.has_reference) if pair[1].measure in report.measures]


def write(report: ArtifactReport, html_path: Path, meta: Mapping[str, Any]) -> Path:
    """Writes the page, and the JSON next to it (same name, .json); returns the path of the page.

    `meta` are facts to show, name to value, for example video, reference, run, person (where a video shows several).
    These keys are used but not shown: video_path and reference_path (of the two videos; without them `video` is
    searched next to the page, and `reference` is taken if it is a file), reference_offset (seconds by which the
    reference's time stamps are ahead of the video's),
    source_faceset (its folder, or the Faceset, to count its faces by pose) and settings (of the render, by the names of
    their flags). A source faceset that cannot be read is ignored.
    """
    facts = {str(k): str(v) for k, v in meta.items() if v is not None and k not in ASIDE}
    context = _context(report, meta)
    found = passages(report.findings)
    data = to_json(report, context)
    bad = worst_second(report)
    values = {
        "title": _title(facts),
        "verdict": verdict(report, found),
        "report": report,
        "facts": facts,
        "player": _player(report, html_path, meta),
        "timeline": kind_timeline.timeline(report, found),
        "cards": _cards(report, found, context),
        "found": found,
        "severities": by_severity(report.findings),
        "kinds": _kind_rows(report, context),
        "worst_second": bad,
        "measures": [_measure_row(report, k, x, data["measures"][x.measure]) for k, x in _measured(report)],
        "affected": affected(report),
        "artifacts_css": static("artifacts.css"),
        "artifacts_js": static("artifacts.js"),
    }
    more = {"meta": facts, "verdict": values["verdict"], "affected": values["affected"], "worst_second": bad}
    return write_page(html_path, "artifacts.html", values, data | more)


def _title(facts: Mapping[str, str]) -> str:
    """For example `Artifacts: out.mp4`, of a video with several people `Artifacts: out.mp4: Ann`."""
    parts = [Path(facts["video"]).name] if "video" in facts else []
    return ": ".join(["Artifacts", *parts, *([facts["person"]] if "person" in facts else [])])


def _player(report: ArtifactReport, page: Path, meta: Mapping[str, Any]) -> Player | None:
    video, reference = meta.get("video_path"), meta.get("reference_path")
    if video is None and meta.get("video"):
        neighbour = page.parent / Path(str(meta["video"])).name
        given = Path(str(meta["video"]))
        video = given if given.is_file() and not neighbour.is_file() else neighbour
    if video is None:
        return None
    if reference is None and meta.get("reference") and Path(str(meta["reference"])).is_file():
        reference = meta["reference"]
    offset = meta.get("reference_offset")
    return player(page, Path(video), Path(reference) if reference and report.has_reference else None, offset)


def _context(report: ArtifactReport, meta: Mapping[str, Any]) -> Context:
    source, poses = meta.get("source_faceset"), None
    if source is not None:
        try:
            poses = source_poses(source if isinstance(source, Faceset) else open_faceset(Path(source)))
        except FacesetError:
            poses = None
    boxes = report.measures[["frame", "width", "height"]].dropna()
    size = HULL * np.sqrt(boxes["width"].to_numpy(np.float64) * boxes["height"].to_numpy(np.float64))
    sizes = dict(zip(boxes["frame"].tolist(), size.tolist(), strict=True))
    kinds = frozenset(finding.kind for finding in report.findings)
    return Context(meta.get("settings") or {}, poses, sizes, float(meta.get("reference_offset") or 0), kinds)


def _cards(report: ArtifactReport, found: tuple[Passage, ...], context: Context) -> list[_Card]:
    cards, spent = [], 0
    times = dict(zip(report.measures["frame"].tolist(), report.measures["time"].tolist(), strict=True))
    for passage in found[:SHOWN]:
        worst = passage.worst
        entries = tuple(_entry(report, f, context) for f in passage.findings[:LISTED])
        pictures = _pictures(report, worst)
        cost = sum(len(p) * 4 // 3 for p in pictures if p)
        if spent + cost > PICTURES:
            pictures, cost = (None, None, None), 0
        spent += cost
        uris = [data_uri(p) if p else None for p in pictures]
        when = float(times.get(worst.worst_frame, worst.start))
        cards.append(_Card(passage, entries[0].title, when, entries, len(passage.findings) - len(entries), *uris))
    return cards


def _pictures(report: ArtifactReport, finding: Finding) -> tuple[bytes | None, bytes | None, bytes | None]:
    """JPEGs of output, reference and their difference in the worst frame."""
    picture = report.pictures.get((finding.kind, finding.first_frame))
    if picture is None:
        return None, None, None
    apart = None if picture.reference is None else difference(picture.output, picture.reference)
    return picture.output, picture.reference, apart


def _entry(report: ArtifactReport, finding: Finding, context: Context) -> _Entry:
    kinds, words = by_name(), phrase(finding)
    also = ", ".join(kinds[name].title if name in kinds else name for name in finding.also)
    advice = typed(remedy(finding, context))
    title, box = words[0].upper() + words[1:], track(report, finding)
    return _Entry(finding, finding.title.capitalize(), title, _value(finding), also, advice, box)


def _kind_rows(report: ArtifactReport, context: Context) -> list[_KindRow]:
    """The kinds in order of their worst findings."""
    kinds: dict[str, list[Finding]] = {}
    for finding in report.findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return [
        _KindRow(fs[0].title, by_severity(tuple(fs)), sum(f.end - f.start for f in fs), typed(remedy(fs[0], context)))
        for fs in kinds.values()
    ]


def _value(finding: Finding) -> str:
    """The worst value against the limit, in words."""
    unit = f" {finding.unit}" if finding.unit else ""
    measure = finding.measure.replace("_", " ").capitalize()
    value, limit = f"{measure} {figure(finding.value)}{unit} in the worst frame", f"limit of {finding.threshold:g}"
    ratio = finding.value / finding.threshold if finding.threshold > 0 else math.nan
    if not math.isfinite(ratio):
        return f"{value}, above the {limit}"
    return f"{value}, just above the {limit}" if ratio < 1.1 else f"{value}, {figure(ratio, 2)} times the {limit}"


def _measure_row(report: ArtifactReport, kind: Kind, limit: Limit, summary: Mapping[str, Any]) -> _MeasureRow:
    mine = [f for f in report.findings if f.measure == limit.measure]
    spans = [(f.start, f.end, f.severity, f"{clock(f.start)} to {clock(f.end)}: {f.severity}") for f in mine]
    values = report.measures[limit.measure].to_numpy(np.float64)
    chart = timeline(report.measures["time"].to_numpy(np.float64), values, limit.low, spans[:500])
    return _MeasureRow(kind, limit, chart, summary, len(mine))
