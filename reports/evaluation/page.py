"""Table of an evaluation: as text, as CSV, and as a page with its figures as JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.runtime.files import atomic
from reports.page.page import figure, write_page

FLOOR_CRF = 23
"""H.264 quality of the footage's copy from which the floors are measured."""


@dataclass(frozen=True)
class Column:
    """One figure of the table."""

    name: str
    title: str
    unit: str
    better: str
    """higher or lower."""
    about: str
    floor: str = ""
    """Figure of the footage against a copy of itself, coded at FLOOR_CRF, or of the footage alone."""


COLUMNS = (
    Column("identity_top1", "ID top-1", "share", "higher", "frames whose nearest person at hand is the source"),
    Column("identity_margin", "ID margin", "distance", "higher",
           "distance to the nearest other person less that to the source (128-D, Euclidean)"),
    Column("identity_target", "ID target", "distance", "higher", "distance to the footage's face in the same frame"),
    Column("follows", "follows", "correlation", "higher", "mean correlation of nine axes of the performance"),
    Column("pose", "pose", "deg", "lower", "mean absolute error of yaw, pitch and roll", "pose_floor"),
    Column("expression", "expression", "0..1", "lower",
           "mean absolute error of 52 blendshapes, each against the face's own neutral", "expression_floor"),
    Column("gaze", "gaze", "-1..1", "lower", "mean absolute error of the gaze in the head", "gaze_floor"),
    Column("nme", "NME", "% of the eyes' distance", "lower", "mean distance of 478 landmarks, centred", "nme_floor"),
    Column("light", "light", "deg", "lower", "mean angle between the estimated light directions", "light_floor"),
    Column("ciede2000", "colour", "CIEDE2000", "lower", "colour of the face against the footage's, less the ring's"),
    Column("ssim_outside", "SSIM outside", "0..1", "higher", "outside the face's outline, enlarged by 1.4",
           "ssim_outside_floor"),
    Column("vmaf_outside", "VMAF outside", "0..100", "higher", "the same outline is filled with the footage",
           "vmaf_outside_floor"),
    Column("flicker", "flicker", "%", "lower", "artifact report, median"),
    Column("jitter", "jitter", "% of the face's width", "lower", "artifact report, median"),
    Column("warping", "warping error", "levels", "lower", "in the face, along the footage's flow", "warping_floor"),
)  # fmt: skip
"""All columns; a row lacks those that could not be measured."""


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table with a line per figure and a column per video."""
    names = [str(row["name"]) for row in rows]
    wide = [max(len(name), 16) for name in names]
    titles = [f"{column.title}, {column.unit}" for column in COLUMNS]
    first = max(map(len, titles))
    lines = [" " * first + "".join(f"{name:>{w + 2}}" for name, w in zip(names, wide, strict=True))]
    for title, column in zip(titles, COLUMNS, strict=True):
        cells = [f"{_cell(row, column):>{w + 2}}" for row, w in zip(rows, wide, strict=True)]
        lines.append(f"{title:{first}}" + "".join(cells))
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], column: Column) -> str:
    value = figure(row.get(column.name))
    floor = row.get(column.floor) if column.floor else None
    return value if floor is None or not math.isfinite(floor) else f"{value} ({figure(floor)})"


def write(rows: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Path, Path]:
    """Paths of evaluation.html (with .json next to it) and evaluation.csv, written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    table: list[dict[str, Any]] = [{"column": c, "cells": [_cell(row, c) for row in rows]} for c in COLUMNS]
    verdict = f"{len(rows)} videos against their footage." if len(rows) > 1 else "One video against its footage."
    values = {
        "title": "Evaluation of swaps",
        "verdict": verdict,
        "missing": any(cell == figure(None) for line in table for cell in line["cells"]),
        "names": [row["name"] for row in rows],
        "table": table,
        "crf": FLOOR_CRF,
        "counts": [f"{row['measured']} of {row['frames']}" for row in rows],
    }
    page = write_page(folder / "evaluation.html", "evaluation.html", values, {"rows": list(rows)})
    sheet = folder / "evaluation.csv"
    with atomic(sheet) as temporary:
        temporary.write_text(_csv(rows), encoding="utf-8")
    return page, sheet


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ["name", "frames", "measured"]
    for column in COLUMNS:
        names += [column.name, *([column.floor] if column.floor else [])]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: "" if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows
    )
    return stream.getvalue()
