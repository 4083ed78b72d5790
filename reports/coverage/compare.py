"""Comparison of facesets: their figures, poses, expressions and light, and how well each covers the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from curate.dataset.faceset import Faceset
from curate.errors import UsageError
from curate.select import coverage
from curate.select.content import seconds
from curate.select.options import Weights
from curate.select.outcome import read_outcome
from curate.select.space import SPACE_COLUMNS, Space, neutral_of, posed, together
from reports.coverage.figures import Figures, figures, to_json
from reports.coverage.page import Axis, Charts, title_of
from reports.page.album import Album
from reports.page.grids import SHADES, GridMap
from reports.page.page import write_page

SAMPLE = 4000
"""Faces of each faceset from which the facesets' coverage of each other is read."""


@dataclass(frozen=True)
class _Column:
    """One faceset."""

    name: str
    folder: str
    found: Figures
    pose: GridMap
    light: GridMap
    expressions: list[Axis]


def write(facesets: Sequence[Faceset], out_dir: Path | None = None) -> Path:
    """Path of the page compare.html, written with compare.json to `out_dir` (None: the first faceset's reports folder).

    Raises UsageError where a faceset is given twice, WorkError where one has no table, no selection or no pose.
    """
    folders = [faceset.folder.resolve() for faceset in facesets]
    for i, folder in enumerate(folders):
        if folder in folders[:i]:
            raise UsageError(f"{facesets[i].folder} is given twice: give different facesets")
    names = _names(facesets)
    columns: list[_Column] = []
    faces: dict[str, str] = {}
    for i, (faceset, name) in enumerate(zip(facesets, names, strict=True)):
        found, album = figures(faceset), Album(faceset, f"set{i}")
        charts = Charts(found, album, faceset)
        columns.append(_Column(name, str(folders[i]), found, charts.pose()[0], charts.light()[0], charts.expressions()))
        faces |= album.pictures
    weights = common_weights(facesets)
    covers = mutual(facesets, weights)
    values = {
        "title": f"Comparison of facesets: {', '.join(names)}",
        "verdict": _verdict(columns),
        "columns": columns,
        "covers": covers.tolist(),
        "weights": weights,
        "shades": SHADES,
        "faces": faces,
    }
    data = {
        "verdict": values["verdict"],
        "covers": covers.tolist(),
        "weights": asdict(weights or Weights()),
        "facesets": [
            {
                "name": c.name,
                "folder": c.folder,
                "subject": asdict(f.subject) if f.subject else None,
                **to_json(c.found),
            }
            for c, f in zip(columns, facesets, strict=True)
        ],
    }
    return write_page((out_dir or facesets[0].reports) / "compare.html", "compare.html", values, data)


def mutual(facesets: Sequence[Faceset], weights: Weights | None = None) -> np.ndarray:
    """(N, N) 0..1: how well the kept faces of the row's faceset cover those of the column's, as filmed.

    In the space of all of them together, each subject about its own neutral. `weights` None: all blocks count alike.
    """
    tables = []
    for faceset in facesets:
        table = posed(
            faceset.table(["face_id", "clip", "frame", "time", "kept", "stands_for", *SPACE_COLUMNS], kept=True)
        )
        rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), SAMPLE)).astype(int))
        tables.append(table.iloc[rows])
    space = Space.fit(together(*tables), weights)
    points = [space.embed(table, neutral_of(table)) for table in tables]
    frames = [seconds(table) for table in tables]
    return np.array([[coverage.coverage(space, b, a, w) for b, w in zip(points, frames, strict=True)] for a in points])


def common_weights(facesets: Sequence[Faceset]) -> Weights | None:
    """The weights with which all selections were made; None where they differ."""
    found = {read_outcome(faceset).weights for faceset in facesets}
    return found.pop() if len(found) == 1 else None


def _names(facesets: Sequence[Faceset]) -> list[str]:
    """Subjects, with the folder's name where two are the same."""
    names = [title_of(faceset) for faceset in facesets]
    return [n if names.count(n) == 1 else f"{n} ({f.folder.name})" for n, f in zip(names, facesets, strict=True)]


def _verdict(columns: Sequence[_Column]) -> str:
    """Which faceset is the most varied."""
    best = max(columns, key=lambda c: c.found.distinct_faces)
    more = sorted((c.found.distinct_faces for c in columns), reverse=True)
    if more[0] == more[1]:
        return "No faceset is more varied than all others."
    return f"{best.name} is the most varied: {more[0] / max(more[1], 1):.1f} times as many distinct faces as the next."
