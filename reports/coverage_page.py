"""The coverage page of a faceset: what the footage holds, what was chosen of it, what was dropped and why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.coverage import PITCH_EDGES, YAW_EDGES
from curate.errors import WorkError
from curate.faceset import Faceset
from curate.types import Image
from reports.charts import SHADES, Bars, GridMap, bars, grid_map
from reports.coverage_figures import Figures, Plane, figures, to_json
from reports.page import count, write_page
from reports.pictures import data_uri, jpeg
from reports.spread import Spread

Doubles = NDArray[np.float64]
TILE = 76
SHEET = 120
"""Chosen faces on the page at most."""
STRIP = 24
"""Chosen faces of one group at most."""


@dataclass(frozen=True)
class _Axis:
    spread: Spread
    chart: Bars
    note: str


@dataclass(frozen=True)
class _Strip:
    name: str
    faces: int
    pictures: tuple[str, ...]


def write(faceset: Faceset, out_dir: Path | None = None) -> Path:
    """Write coverage.html and coverage.json to `out_dir` (None: the faceset's own reports folder); the page's path.

    Raises WorkError where there is no table or no selection yet.
    """
    found = figures(faceset, strip=STRIP)
    faces = _pose_faces(faceset)
    light_x, light_y = found.light.x_edges, found.light.y_edges
    inside = _disc(light_x, light_y)
    facts = _facts(faceset)
    values = {
        "title": f"Coverage: {faceset.subject.name if faceset.subject else faceset.folder.name}",
        "verdict": verdict(found),
        "remarks": remarks(found),
        "figures": found,
        "subject": faceset.subject,
        "pose": _maps(found.pose, faces, tick=30.0),
        "faces": {f"{row}-{column}": uri for (row, column), uri in faces.items()},
        "light": _maps(found.light, None, tick=0.5, unit="", names=("x", "y"), inside=inside, size=28.0),
        "shades": SHADES,
        "curve": _curve(found),
        "expressions": [_axis(s, (0, 0.5, 1)) for s in found.expressions],
        "exposure": [_axis(s) for s in found.exposure],
        "quality": [_axis(s) for s in found.quality if s.footage.sum()],
        "strips": _strips(faceset, found),
        "dropped": [(d, _pictures(faceset, d.examples)) for d in found.dropped],
        "facts": facts,
    }
    data = {
        "verdict": values["verdict"],
        "remarks": values["remarks"],
        "subject": asdict(faceset.subject) if faceset.subject else None,
        **to_json(found),
        "settings": asdict(faceset.settings),
    }
    return write_page((out_dir or faceset.reports) / "coverage.html", "coverage.html", values, data)


def verdict(found: Figures) -> str:
    """What the selection is worth, in one sentence."""
    if not found.kept:
        return f"None of {count(found.faces)} faces is kept."
    if not found.selected:
        return f"None of {count(found.kept)} kept faces is chosen."
    stands = "" if found.coverage is None else f" represent them with {100 * found.coverage:.0f} % coverage"
    chosen = f"{count(found.selected)} of {count(found.kept)} kept faces"
    return f"{chosen}{stands or ' are chosen'}."


def remarks(found: Figures) -> str:
    """What the footage and the selection lack, in up to two sentences; may be empty."""
    sentences = []
    lacks = _lacks(found)
    if lacks:
        sentences.append(f"The footage hardly shows {_listed(lacks)}.")
    if found.poses_lacking:
        cells = "cell" if found.poses_lacking == 1 else "cells"
        sentences.append(f"{found.poses_lacking} {cells} of the pose map with footage in them got no face.")
    return " ".join(sentences)


def _lacks(found: Figures) -> list[str]:
    """Poses and expressions that a swap usually needs and that are (nearly) absent."""
    lacks = []
    if found.yaw_range is not None and found.pitch_range is not None:
        (right, left), (up, down) = found.yaw_range, found.pitch_range
        lacks += [f"a head turned beyond {_whole(left)}° to its own left"] * (left < 30)
        lacks += [f"beyond {_whole(-right)}° to its own right"] * (right > -30)
        lacks += [f"looking up by more than {_whole(-up)}°"] * (up > -12)
        lacks += [f"looking down by more than {_whole(down)}°"] * (down < 12)
    wanted = {"jawOpen": "an open mouth", "smile": "a smile", "blink": "closed eyes"}
    for spread in found.expressions:
        if spread.name in wanted and spread.footage_range is not None and spread.footage_range[1] < 0.2:
            lacks.append(wanted[spread.name])
    return lacks


def _whole(angle: float) -> str:
    return f"{max(angle, 0):.0f}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _maps(
    plane: Plane,
    faces: dict[tuple[int, int], str] | None,
    tick: float,
    unit: str = "°",
    names: tuple[str, str] = ("yaw", "pitch"),
    inside: NDArray[np.bool_] | None = None,
    size: float = 20.0,
) -> tuple[GridMap, GridMap]:
    keys = {cell: f"{cell[0]}-{cell[1]}" for cell in faces or {}}
    return tuple(  # type: ignore[return-value]  # two of them
        grid_map(
            title, counts, plane.x_edges, plane.y_edges,
            seen=seen, names=names, unit=unit, tick=tick, pictures=keys, inside=inside, size=size,
        )
        for title, counts, seen in (("Footage", plane.footage, None), ("Selection", plane.selection, plane.footage))
    )  # fmt: skip


def _disc(x_edges: Doubles, y_edges: Doubles) -> NDArray[np.bool_]:
    """(rows, columns) cells that reach into the unit circle."""
    x = np.minimum(np.abs(x_edges[:-1]), np.abs(x_edges[1:]))
    y = np.minimum(np.abs(y_edges[:-1]), np.abs(y_edges[1:]))
    return np.asarray(np.hypot(x[None, :], y[:, None]) < 0.999)


def _pose_faces(faceset: Faceset) -> dict[tuple[int, int], str]:
    """(row, column) of the pose map to the kept face nearest to the cell's middle."""
    rows = faceset.table(["crop", "kept", "yaw", "pitch"])
    rows = rows[rows["kept"] & rows["yaw"].notna() & rows["pitch"].notna() & rows["crop"].notna()]
    if rows.empty:
        return {}
    column = np.clip(np.digitize(rows["yaw"], YAW_EDGES) - 1, 0, len(YAW_EDGES) - 2)
    row = np.clip(np.digitize(rows["pitch"], PITCH_EDGES) - 1, 0, len(PITCH_EDGES) - 2)
    middle = np.stack([(YAW_EDGES[:-1] + YAW_EDGES[1:])[column], (PITCH_EDGES[:-1] + PITCH_EDGES[1:])[row]]) / 2
    off = np.hypot(rows["yaw"].to_numpy() - middle[0], rows["pitch"].to_numpy() - middle[1])
    near = pd.DataFrame({"row": row, "column": column, "off": off, "crop": rows["crop"].to_numpy()})
    near = near.sort_values("off").drop_duplicates(["row", "column"])
    found = {}
    for cell in near.itertuples():
        pictures = _pictures(faceset, (str(cell.crop),))
        if pictures:
            found[int(str(cell.row)), int(str(cell.column))] = pictures[0]
    return found


def _pictures(faceset: Faceset, crops: tuple[str, ...]) -> tuple[str, ...]:
    """Crops as small data URIs; one that cannot be read is left out."""
    found = []
    for path in crops:
        image = read_crop(faceset, path)
        if image is not None:
            found.append(data_uri(jpeg(tile(image, TILE * 3 // 2), quality=78)))
    return tuple(found)


def read_crop(faceset: Faceset, path: str) -> Image | None:
    """The crop, or None where the file is gone: a page about a faceset without its crops has fewer pictures."""
    try:
        return faceset.crop(path)
    except WorkError:
        return None


def tile(image: Image, size: int) -> Image:
    """(size, size, 3) of a crop."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _strips(faceset: Faceset, found: Figures) -> list[_Strip]:
    """Groups with their faces, SHEET faces in all, shared out by size."""
    strips = []
    for cluster in found.clusters:
        share = max(round(SHEET * cluster.faces / max(found.selected, 1)), 1)
        strips.append(_Strip(cluster.name, cluster.faces, _pictures(faceset, cluster.crops[: min(share, STRIP)])))
    return strips


def _axis(spread: Spread, ticks: tuple[float, ...] | None = None) -> _Axis:
    low, high = float(spread.edges[0]), float(spread.edges[-1])
    places = _places(10 * (high - low))
    rounded = [float(f"{v:.{places}f}") for v in np.linspace(low, high, 3)]
    note = "" if spread.footage_range is None else f"footage {_range(spread.footage_range, high - low)}"
    if spread.selection_range is not None:
        note += f", selection {_range(spread.selection_range, high - low)}"
    return _Axis(spread, bars(spread.footage, spread.selection, spread.edges, ticks or rounded), note)


def _range(values: tuple[float, float], width: float) -> str:
    places = _places(width)
    return f"{values[0] + 0:.{places}f} to {values[1] + 0:.{places}f}".replace("-", "−")


def _places(width: float) -> int:
    """Decimals that tell apart hundredths of an axis of this width."""
    return min(max(2 - math.floor(math.log10(width)), 0), 6)


@dataclass(frozen=True)
class _Curve:
    points: str
    """SVG path in a box of 600 x 150."""
    x: float
    y: float
    half: int
    """Faces that reach nine tenths of the final coverage."""


def _curve(found: Figures) -> _Curve | None:
    if len(found.curve) < 2:
        return None
    at = np.unique(np.linspace(0, len(found.curve) - 1, min(len(found.curve), 240)).astype(int))
    x, y = 600 * (at + 1) / len(found.curve), 150 * (1 - found.curve[at])
    line = "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    half = int(np.searchsorted(found.curve, 0.9 * found.curve[-1])) + 1
    return _Curve(f"M{line}", float(x[-1]), float(y[-1]), half)


def _facts(faceset: Faceset) -> list[tuple[str, str]]:
    subject, settings = faceset.subject, faceset.settings
    facts = [("Folder", str(faceset.folder.resolve()))]
    if subject is not None:
        facts += [("Subject", subject.name), ("Basis", subject.basis or "none stated")]
        if subject.evidence:
            facts.append(("Evidence", f"{subject.evidence} (sha256 {subject.evidence_sha256})"))
    facts += [(name.replace("_", " ").capitalize(), str(v)) for name, v in asdict(settings).items() if name != "models"]
    facts += [(f"Weights {name}", f"sha256 {digest}") for name, digest in settings.models.items()]
    return [*facts, ("Settings digest", settings.digest())]
