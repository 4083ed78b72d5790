"""The coverage page of a faceset: the footage, the selection, and the faces that are not kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.axes import READABLE
from curate.dataset.faceset import Faceset
from curate.scores.expression import AXES
from curate.select.gaps import Gap
from curate.select.space import BLOCKS
from curate.words import have, many, quoted
from reports.coverage.figures import Figures, Plane, figures, to_json
from reports.coverage.spread import Spread
from reports.page.album import Album
from reports.page.grids import SHADES, Bars, GridMap, bars, curve, grid_map
from reports.page.page import count, duration, percent, write_page

Doubles = NDArray[np.float64]
SHEET = 120
"""Chosen faces on the page at most."""
STRIP = 24
"""Chosen faces of one group at most."""
NEEDED = ("jawOpen", "smile", "blink")
"""Expressions that a swap usually needs."""
PICTURED = ("face_id", "crop", "kept", "yaw", "pitch", "light_x", "light_y", *AXES)


@dataclass(frozen=True)
class Axis:
    """One chart of an axis."""

    spread: Spread
    chart: Bars
    note: str


@dataclass(frozen=True)
class _Strip:
    name: str
    faces: int
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class _GapRow:
    gap: Gap
    seen: tuple[str, ...]
    """The target's faces, keys of the page's pictures."""
    nearest: tuple[str, ...]
    """The source's faces most like them."""


def write(faceset: Faceset, out_dir: Path | None = None, target: Faceset | None = None) -> Path:
    """Path of the page coverage.html, written with coverage.json to `out_dir` (None: the faceset's reports folder).

    With `target`, the performance to be covered is shown next to the footage, and the gaps are listed. Raises WorkError
    where there is no table or no selection yet.
    """
    found = figures(faceset, target, strip=STRIP)
    album, other = Album(faceset), Album(target or faceset, "target")
    charts = Charts(found, album, faceset, target, other)
    values = {
        "title": f"Coverage: {title_of(faceset)}",
        "verdict": verdict(found),
        "remarks": remarks(found),
        "folder": quoted(faceset.folder),
        "figures": found,
        "blocks": BLOCKS,
        "subject": faceset.subject,
        "pose": charts.pose(),
        "light": charts.light(),
        "shades": SHADES,
        "curve": curve(found.curve, found.more),
        "enough": int(np.searchsorted(found.curve, 0.9 * found.curve[-1])) + 1 if len(found.curve) else 0,
        "expressions": charts.expressions(),
        "exposure": [axis(s) for s in found.exposure],
        "quality": [axis(s) for s in found.quality if s.footage.sum()],
        "gaps": _gap_rows(found, faceset, target, album, other),
        "strips": _strips(album, found),
        "dropped": [(d, album.uris(d.examples)) for d in found.dropped],
        "facts": _facts(faceset, target),
    }
    values["faces"] = album.pictures | other.pictures
    data = {
        "verdict": values["verdict"],
        "remarks": values["remarks"],
        "subject": asdict(faceset.subject) if faceset.subject else None,
        **to_json(found),
        "settings": asdict(faceset.settings),
        "selection": faceset.selection_options(),
    }
    return write_page((out_dir or faceset.reports) / "coverage.html", "coverage.html", values, data)


def title_of(faceset: Faceset) -> str:
    """The subject's name, or the folder's."""
    return faceset.subject.name if faceset.subject else faceset.folder.name


def verdict(found: Figures) -> str:
    """A sentence about the footage and the selection."""
    if not found.kept:
        return f"None of {many(found.faces, 'face')} is kept."
    if not found.selected:
        return f"None of {many(found.kept, 'kept face')} is selected."
    chosen = f"{count(found.selected)} of {many(found.kept, 'kept face')}"
    if found.coverage is None:
        return f"{chosen} are selected."
    covers = f"{chosen} cover {percent(found.coverage, 1)} of"
    asked = "" if found.target is None else f" and {percent(found.target.after, 1)} of the target"
    if found.keep_minutes is None or not found.minutes:
        return f"{covers} the photos{asked}."
    material = f"{duration(found.keep_minutes)} of {duration(found.minutes)} of footage are worth keeping"
    return f"{material}; {covers} the footage{asked}."


def remarks(found: Figures) -> str:
    """Up to two sentences about what the footage and the selection lack; may be empty."""
    sentences = []
    lacks = _lacks(found)
    if lacks:
        sentences.append(f"The footage contains hardly any faces {_listed(lacks)}.")
    if found.poses_lacking:
        cells = many(found.poses_lacking, "cell")
        sentences.append(f"{cells} of the pose map {have(found.poses_lacking)} footage, but no selected face.")
    return " ".join(sentences)


def _lacks(found: Figures) -> list[str]:
    """Poses and expressions that a swap usually needs and that are (nearly) absent, as `faces` goes on."""
    lacks = []
    if found.yaw_range is not None and found.pitch_range is not None:
        for name, (low, high), needed in (("yaw", found.yaw_range, 30), ("pitch", found.pitch_range, 12)):
            lacks += [READABLE[name].beyond(1, high)] * (high < needed)
            lacks += [READABLE[name].beyond(-1, -low)] * (low > -needed)
    for spread in found.expressions:
        if spread.name in NEEDED and spread.footage_range is not None and spread.footage_range[1] < 0.2:
            lacks.append(READABLE[spread.name].beyond(1))
    return lacks


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


@dataclass(frozen=True)
class Charts:
    """The charts of one faceset, with a face of the album behind each of their cells."""

    found: Figures
    album: Album
    faceset: Faceset
    target: Faceset | None = None
    other: Album | None = None
    """Of the target."""

    def pose(self) -> tuple[GridMap, ...]:
        """Footage and selection over yaw and pitch, and the target where there is one."""
        return self._maps(self.found.pose, ("yaw", "pitch"), tick=30.0)

    def light(self) -> tuple[GridMap, ...]:
        """The same over the two axes of the light's direction."""
        inside = _disc(self.found.light.x_edges, self.found.light.y_edges)
        names = ("x", "y")
        return self._maps(self.found.light, ("light_x", "light_y"), 0.5, unit="", names=names, inside=inside, size=28.0)

    def expressions(self) -> list[Axis]:
        """A chart an axis of expression."""
        kept = self._tables[0]
        found = []
        for spread in self.found.expressions:
            cells = np.clip(np.digitize(kept[spread.name].astype(float), spread.edges) - 1, 0, len(spread.edges) - 2)
            middles = (spread.edges[:-1] + spread.edges[1:])[:, None] / 2
            picked = _picked(kept[[spread.name]], cells, middles[cells], kept["crop"], self.album)
            found.append(axis(spread, (0, 0.5, 1), picked))
        return found

    @cached_property
    def _tables(self) -> list[pd.DataFrame]:
        """Kept faces, chosen faces, the target's faces; with PICTURED."""
        table = self.faceset.table(PICTURED)
        kept = table[table["kept"] & table["crop"].notna()]
        tables = [kept, kept[kept["face_id"].isin(self.faceset.selection()["face_id"])]]
        if self.target is not None:
            asked = self.target.table(PICTURED)
            tables.append(asked[asked["kept"] & asked["crop"].notna()])
        return tables

    def _maps(
        self,
        plane: Plane,
        columns: tuple[str, str],
        tick: float,
        unit: str = "°",
        names: tuple[str, str] = ("yaw", "pitch"),
        inside: NDArray[np.bool_] | None = None,
        size: float = 20.0,
    ) -> tuple[GridMap, ...]:
        tables = self._tables
        counts = [("Footage", plane.footage, None), ("Selection", plane.selection, plane.footage)]
        if plane.target is not None:
            counts.append(("Target", plane.target, None))
        maps = []
        for i, (title, number, wanted) in enumerate(counts):
            album = self.other if i == 2 and self.other is not None else self.album
            missing = None if wanted is None else (wanted > 0) & (number == 0)
            if i == 2:
                missing = (number > 0) & (plane.footage == 0)
            pictures = _plane_faces(tables[i], columns, plane, album)
            maps.append(
                grid_map(
                    title, number, plane.x_edges, plane.y_edges,
                    missing=missing, names=names, unit=unit, tick=tick, pictures=pictures, inside=inside, size=size,
                )
            )  # fmt: skip
        return tuple(maps)


def _plane_faces(
    table: pd.DataFrame, columns: tuple[str, str], plane: Plane, album: Album
) -> dict[tuple[int, int], str]:
    """(row, column) of a map to the key of the face nearest to the cell's middle."""
    rows = table[table[list(columns)].notna().all(axis=1)]
    if rows.empty:
        return {}
    values = rows[list(columns)].astype(float)
    place, middles = [], []
    for name, edges in zip(columns, (plane.x_edges, plane.y_edges), strict=True):
        down = edges[0] > edges[-1]
        ordered = edges[::-1] if down else edges
        at = np.clip(np.digitize(values[name], ordered) - 1, 0, len(edges) - 2)
        middles.append(((ordered[:-1] + ordered[1:]) / 2)[at])
        place.append(len(edges) - 2 - at if down else at)
    wide = len(plane.x_edges)
    picked = _picked(values, place[1] * wide + place[0], np.stack(middles, 1), rows["crop"], album)
    return {(cell // wide, cell % wide): key for cell, key in picked.items()}


def _picked(
    values: pd.DataFrame, cells: NDArray[np.int64], middles: Doubles, crops: pd.Series, album: Album
) -> dict[int, str]:
    """Cell to the key of the face whose values (N, d) are nearest to the cell's middle (N, d)."""
    off = np.linalg.norm(values.to_numpy(float) - middles, axis=1)
    near = pd.DataFrame({"cell": cells, "off": off, "crop": crops.to_numpy()}).dropna()
    near = near.sort_values("off", kind="stable").drop_duplicates("cell")
    keys = {int(cell): album.key(crop) for cell, crop in zip(near["cell"], near["crop"], strict=True)}
    return {cell: key for cell, key in keys.items() if key is not None}


def _disc(x_edges: Doubles, y_edges: Doubles) -> NDArray[np.bool_]:
    """(rows, columns) cells that reach into the unit circle."""
    x = np.minimum(np.abs(x_edges[:-1]), np.abs(x_edges[1:]))
    y = np.minimum(np.abs(y_edges[:-1]), np.abs(y_edges[1:]))
    return np.asarray(np.hypot(x[None, :], y[:, None]) < 0.999)


def _gap_rows(found: Figures, faceset: Faceset, target: Faceset | None, album: Album, other: Album) -> list[_GapRow]:
    if found.target is None or target is None or not found.target.gaps:
        return []
    crop_of, asked = (dict(f.table(["face_id", "crop"]).to_numpy().tolist()) for f in (faceset, target))

    def keys(ids: Sequence[str], crops: dict[str, str], into: Callable[[object], str | None]) -> tuple[str, ...]:
        return tuple(key for key in (into(crops.get(face)) for face in ids) if key is not None)

    return [
        _GapRow(gap, keys(gap.faces, asked, other.key), keys(gap.nearest, crop_of, album.key))
        for gap in found.target.gaps
    ]


def _strips(album: Album, found: Figures) -> list[_Strip]:
    """Groups with their faces, SHEET faces in all, shared out by size."""
    strips = []
    for cluster in found.clusters:
        share = max(round(SHEET * cluster.faces / max(found.selected, 1)), 1)
        strips.append(_Strip(cluster.name, cluster.faces, album.uris(cluster.crops[: min(share, STRIP)])))
    return strips


def axis(spread: Spread, ticks: tuple[float, ...] | None = None, pictures: dict[int, str] | None = None) -> Axis:
    """The chart of an axis, with its ranges in words."""
    low, high = float(spread.edges[0]), float(spread.edges[-1])
    places = _places(10 * (high - low))
    rounded = [float(f"{v:.{places}f}") for v in np.linspace(low, high, 3)]
    note = "" if spread.footage_range is None else f"Footage {_range(spread.footage_range, high - low)}"
    if spread.selection_range is not None:
        note += f", selection {_range(spread.selection_range, high - low)}"
    chart = bars(spread.footage, spread.selection, spread.edges, ticks or rounded, spread.target, pictures)
    return Axis(spread, chart, note)


def _range(values: tuple[float, float], width: float) -> str:
    places = _places(width)
    return f"{values[0] + 0:.{places}f} to {values[1] + 0:.{places}f}".replace("-", "−")


def _places(width: float) -> int:
    """Decimals that tell apart hundredths of an axis of this width."""
    return min(max(2 - math.floor(math.log10(width)), 0), 6)


def _facts(faceset: Faceset, target: Faceset | None) -> list[tuple[str, str]]:
    subject, settings = faceset.subject, faceset.settings
    facts = [("Folder", str(faceset.folder.resolve()))]
    if target is not None:
        facts.append(("Target", str(target.folder.resolve())))
    if subject is not None:
        facts += [("Subject", subject.name), ("Basis", subject.basis or "not stated")]
        if subject.evidence:
            facts.append(("Evidence", f"{subject.evidence} (SHA-256 {subject.evidence_sha256})"))
    facts += [(_spaced(name).capitalize(), _option(v)) for name, v in asdict(settings).items() if name != "models"]
    facts += [(f"Model weights: {name}", f"SHA-256 {digest}") for name, digest in settings.models.items()]
    facts.append(("Digest of the settings", settings.digest()))
    return facts + [(f"Selection: {_spaced(name)}", _option(v)) for name, v in faceset.selection_options().items()]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _option(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_spaced(k)} {v}" for k, v in value.items() if v is not None) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)
