"""Contents of the App's panels: counts over two axes, the faces in a cell, coverage, gaps. Does not import FiftyOne."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.app.guard import readable
from curate.axes import READABLE
from curate.dataset.faceset import Faceset
from curate.errors import UsageError
from curate.select.coverage import PITCH_EDGES, YAW_EDGES
from curate.select.gaps import Gap, time_code
from curate.types import Clip
from curate.words import are, many

Edges = NDArray[np.float64]
OUTCOME = "faceset outcome"
"""Key of a dataset's info: faces kept, eligible and selected, and the coverage of the selection that it shows."""
media: list[str] = []
"""Files and folders that the App's server may read, set by the server."""
_UNIT = np.linspace(-0.25, 1, 26)
_SPHERE = np.linspace(-1, 1, 13)


@dataclass(frozen=True)
class Chart:
    """Two columns of the table, and the cells in which faces are counted."""

    label: str
    x: str
    y: str
    x_edges: Edges
    y_edges: Edges
    x_title: str
    y_title: str
    down: bool = False
    """y grows downwards."""


def _chart(label: str, x: str, y: str, across: Edges = _UNIT, along: Edges = _UNIT, down: bool = False) -> Chart:
    """A chart of two readable axes, with their titles."""
    return Chart(label, x, y, across, along, READABLE[x].scale, READABLE[y].scale, down)


CHARTS: dict[str, Chart] = {
    "pose": _chart("Head pose", "yaw", "pitch", YAW_EDGES, PITCH_EDGES, down=True),
    "mouth": _chart("Mouth", "jawOpen", "smile"),
    "eyes": _chart("Eyes and brows", "blink", "browUp"),
    "lips": _chart("Lips and frown", "pucker", "frown"),
    "light": Chart(
        "Light",
        "light_x",
        "light_y",
        _SPHERE,
        _SPHERE,
        "from image left (-1) to image right (1)",
        "from below (-1) to above (1)",
    ),
}
COLUMNS = ("face_id", "kept", *sorted({name for c in CHARTS.values() for name in (c.x, c.y)}))


def counts(chart: Chart, table: pd.DataFrame) -> NDArray[np.int64]:
    """(Y, X) faces in each cell; faces beyond the edges are in the outermost cells, those with a null in none."""
    x, y = (table[name].to_numpy(np.float64, na_value=np.nan) for name in (chart.x, chart.y))
    known = np.isfinite(x) & np.isfinite(y)
    across = np.clip(x[known], chart.x_edges[0], chart.x_edges[-1])
    along = np.clip(y[known], chart.y_edges[0], chart.y_edges[-1])
    found, _, _ = np.histogram2d(along, across, bins=(chart.y_edges, chart.x_edges))
    return np.asarray(found, np.int64)


def bounds(chart: Chart, x: float, y: float) -> dict[str, dict[str, float]]:
    """A MongoDB match for the faces of the cell that holds (x, y); the outermost cells are open to the outside.

    Raises UsageError for a point beyond the chart.
    """
    found = {}
    for name, edges, value in ((chart.x, chart.x_edges, x), (chart.y, chart.y_edges, y)):
        if not edges[0] <= value <= edges[-1]:
            raise UsageError(f"{name} {value}: the chart covers {edges[0]:g} to {edges[-1]:g}")
        cell = int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2))
        last = cell == len(edges) - 2
        found[name] = {
            "$gte": -1e9 if cell == 0 else float(edges[cell]),
            "$lt": 1e9 if last else float(edges[cell + 1]),
        }
    return found


def maps(
    chart: Chart, faceset: Faceset, selected: set[str], target: Faceset | None = None, shown: set[str] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Counts of the footage, the selection and, if given, the faces `shown` and those of the target."""
    table = faceset.table(COLUMNS)
    kept = table[table["kept"]]
    found = {"footage": counts(chart, kept), "selection": counts(chart, kept[kept["face_id"].isin(selected)])}
    if shown is not None:
        found["shown"] = counts(chart, table[table["face_id"].isin(shown)])
    if target is not None:
        asked = target.table(COLUMNS)
        found["target"] = counts(chart, asked[asked["kept"]])
    return found


def outcome_text(outcome: Mapping[str, Any] | None) -> str:
    """A sentence about the selection that the dataset shows, from its info; None: nothing is selected."""
    if outcome is None:
        return "No face is selected."
    faces = f"{outcome['selected']} of {many(outcome['eligible'], 'eligible face')} {are(outcome['selected'])} selected"
    if outcome["coverage"] is None:
        return f"{faces}."
    return f"{faces}; they cover {100 * outcome['coverage']:.1f} % of the footage."


def gap_text(number: int, gap: Gap, clips: Sequence[Clip] = ()) -> str:
    """A gap as Markdown, with names escaped; its time codes open those of the target's `clips` that may be read."""
    paths = {clip.name: clip.path for clip in clips if clip.kind == "video" and readable(clip.path, media)}
    links = [
        f"[{escaped(clip)} {time_code(start)}](/media?{urlencode({'filepath': paths[clip]})}#t={start:.2f})"
        for clip, start, _ in gap.spans
        if clip in paths
    ]
    play = f" Play {', '.join(links)}." if links else ""
    return f"**{number}.** {escaped(gap.sentence())}{play}"


def escaped(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~&" else c for c in text)
