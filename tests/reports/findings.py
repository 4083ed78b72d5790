"""Made-up artifact reports: a measure table, findings where one wants them, grey pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.artifacts.events import Finding, by_severity
from reports.artifacts.kinds import Limit, by_name, limits
from reports.artifacts.report import ArtifactReport
from reports.page.pictures import Picture, jpeg

FPS = 25.0


def finding(kind: str, first: int, last: int, times: float = 2.0, **more: Any) -> Finding:
    """A finding of `kind` in the frames first..last whose worst value is `times` the threshold."""
    known, made_up = by_name().get(kind), Limit(kind, "%", 1.0, 2.0, 4.0, 1, "made up")
    limit = made_up if known is None else known.full_reference or known.no_reference
    assert limit is not None
    title = by_name()[kind].title if kind in by_name() else kind.replace("_", " ")
    value = limit.low * times
    values: dict[str, Any] = {
        "region_name": "whole face", "kind": kind, "title": title, "severity": limit.severity(value),
        "start": first / FPS, "end": (last + 1) / FPS, "first_frame": first, "last_frame": last,
        "worst_frame": (first + last) // 2,
        "measure": limit.measure, "unit": limit.unit, "value": value, "threshold": limit.low,
        "flagged": last - first + 1, "region": (40, 30, 100, 120),
    } | more  # fmt: skip
    return Finding(**values)


def report(
    findings: Sequence[Finding] = (), frames: int = 50, faceless: Sequence[int] = (), reference: bool = True
) -> ArtifactReport:
    """A report of so many frames of 240 x 180, the face drifting to the right by a pixel a frame."""
    index = np.arange(frames)
    table = pd.DataFrame({"frame": index, "time": index / FPS, "x": 40.0 + index, "y": 30.0})
    table[["width", "height"]] = (100.0, 120.0)
    for _, limit in limits(reference):
        table[limit.measure] = 0.1 * limit.low
    for f in findings:
        if f.measure in table:
            table.loc[f.first_frame : f.last_frame, f.measure] = f.value
    table.loc[list(faceless), "x":] = np.nan
    rng = np.random.default_rng(5)
    shots = [jpeg(rng.integers(0, 255, (120, 100, 3), np.uint8)) for _ in range(2)]
    pictures = {(f.kind, f.first_frame): Picture(f.worst_frame, shots[0], shots[1]) for f in findings}
    faces = int(table["x"].notna().sum())
    return ArtifactReport(FPS, reference, frames, faces, table, by_severity(list(findings)), pictures)
