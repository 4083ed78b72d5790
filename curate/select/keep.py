"""The footage worth keeping: distinct faces, and the stretches of the timeline around them.

The distinct faces are the smallest selection found (greedily) that keeps KEEPS of the coverage of all kinds of faces,
in the absolute space, without regard to quality. Each of them can be taken wherever a like face is on screen; it is
taken where that lengthens the timeline least. Windows of WINDOW seconds around them, united, are what an editor would
keep. Repeating footage adds nothing, other footage adds its own, and neither frame rate nor skipped frames matter much.

Footage with more than MOST_CELLS cells of like faces is sorted into regions of the space, and the smallest selection is
found for each: there is no ceiling, and the time grows with the footage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.select import facility_location
from curate.select.apart import moments
from curate.select.content import content_order, in_content_order, seconds
from curate.select.kinds import ALIKE, Kinds, radius_of, weighed, without
from curate.select.options import Weights
from curate.select.similarity import leaders, nearest
from curate.select.space import Space, neutral_of
from curate.types import Clip, Floats

Doubles = NDArray[np.float64]
_Region = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Rows of faces, which of them lead the cells, and the cell of each."""

KEEPS = 0.95
"""Share of the coverage that the smallest selection must keep."""
WINDOW = 1.0
"""Seconds that are kept around a distinct face."""
SHORT = 0.5
"""Seconds of a hole in the timeline that is too short to be cut out: it is kept."""
MOST_CELLS = 6000
"""Cells of like faces among which the smallest selection is found at once."""
REGIONS = 48
"""Regions into which faces with more cells are sorted at a time, at most."""
WORTH_CLIPS = 40
"""The worth of single clips is measured for so many, those with the most faces."""


@dataclass(frozen=True)
class Amounts:
    """The amount of distinct footage."""

    faces: int
    """Distinct faces: the smallest selection that keeps KEEPS of the coverage."""
    minutes: float | None
    """Length of the footage; None for photos."""
    keep_minutes: float | None
    """Minutes worth keeping; None for photos."""
    of_faces: int
    """Faces of the footage."""


@dataclass(frozen=True, order=True)
class Window:
    """A stretch of one clip, in seconds of its timestamps."""

    clip: str
    start: float
    end: float


@dataclass(frozen=True)
class Worth:
    """The worth of one clip."""

    clip: str
    minutes: float
    """Of footage in which the subject's face is."""
    keep: float
    """Minutes worth keeping of the clip alone."""
    adds: float
    """Minutes worth keeping that all clips together would lose without it."""


@dataclass(frozen=True, eq=False)
class _Faces:
    """Faces in order of content, with what is known of their time."""

    clip: NDArray[np.int64]
    """(N,) which of `names`."""
    names: tuple[str, ...]
    time: Doubles
    moment: Doubles
    lasts: Doubles
    """(N,) seconds for which each face stands."""
    points: Floats
    width: float

    def part(self, rows: NDArray[np.bool_]) -> _Faces:
        """Some of them."""
        return _Faces(
            self.clip[rows],
            self.names,
            self.time[rows],
            self.moment[rows],
            self.lasts[rows],
            self.points[rows],
            self.width,
        )


def amounts_of(table: pd.DataFrame, clips: Sequence[Clip], weights: Weights | None = None) -> Amounts:
    """The amounts of the kept faces in `table` (face_id, kept, clip, frame, time, stands_for and SPACE_COLUMNS)."""
    films = [c for c in clips if c.fps > 0]
    length = sum(c.seconds for c in films) / 60 if films else None
    faces = _faces(table, weights)
    if faces is None:
        return Amounts(0, _rounded(length), 0.0 if films else None, 0)
    kinds, region = _kinds(faces)
    cells = _needed(faces, kinds, region)
    kept = sum(w.end - w.start for w in _united(faces, kinds, cells) if any(w.clip == c.name for c in films)) / 60
    return Amounts(
        len(cells), _rounded(length), None if length is None else _rounded(min(kept, length)), len(faces.points)
    )


def _rounded(minutes: float | None) -> float | None:
    return None if minutes is None else round(minutes, 4)


def windows(
    table: pd.DataFrame, weights: Weights | None = None, target: pd.DataFrame | None = None
) -> tuple[Window, ...]:
    """The stretches worth keeping of the kept faces in `table`, by clip and time; none overlap.

    With the kept faces of a `target` the stretches that it needs: what keeps KEEPS of all that the footage covers of
    it, as filmed.
    """
    faces = _faces(table, weights)
    if faces is None:
        return ()
    kinds, region = _kinds(faces)
    if target is None:
        return _united(faces, kinds, _needed(faces, kinds, region))
    kept = table[table["kept"].astype(bool) & table["yaw"].notna()]
    space = Space.absolute(kept, weights)
    order = content_order(target)
    asked = space.embed(target, neutral_of(target))[order]
    rows, cell, _ = leaders(asked, radius_of(space.width, ALIKE), MOST_CELLS)
    shown = np.bincount(cell, seconds(target)[order], len(rows)).astype(np.float64)
    return _united(faces, kinds, _smallest(faces.points[kinds.rows], asked[rows], faces.width, shown))


def worth(table: pd.DataFrame, weights: Weights | None = None) -> tuple[Worth, ...]:
    """The worth of each clip of the kept faces in `table`, alone and in the presence of the others.

    Measured as `amounts_of` does, each clip on its own faces, for the WORTH_CLIPS clips with the most faces. A clip
    that shows what others show as well adds nothing, however good it is alone. Where there are several regions, the
    distinct faces are not searched again without the clip: it adds what only it shows of them.
    """
    faces = _faces(table, weights)
    if faces is None:
        return ()
    kinds, region = _kinds(faces)
    needed = _needed(faces, kinds, region)
    whole, found = _length(_united(faces, kinds, needed)), []
    count = np.bincount(faces.clip, minlength=len(faces.names))
    largest = sorted(range(len(count)), key=lambda c: (-count[c], faces.names[c]))[:WORTH_CLIPS]
    for clip in sorted(largest, key=lambda c: faces.names[c]):
        mine = faces.clip == clip
        without_it = 0.0
        if not mine.all() and not region.any():
            rest = faces.part(~mine)
            left = without(kinds, ~mine, rest.points, rest.width, rest.lasts)
            without_it = _minutes(rest, left, np.zeros(len(left.rows), np.int64))
        elif not mine.all():
            without_it = _length(_united(faces, kinds, needed, ~mine))
        own = faces.part(mine)
        alone = _minutes(own, *_kinds(own))
        found.append(Worth(faces.names[clip], float(own.lasts.sum()) / 60, alone, max(whole - without_it, 0.0)))
    return tuple(found)


def _faces(table: pd.DataFrame, weights: Weights | None) -> _Faces | None:
    """The kept faces of the table with a head pose; None where there is none."""
    there = (table["kept"].astype(bool) & table["yaw"].notna()).to_numpy()
    if not there.any():
        return None
    kept = in_content_order(table, there)
    space = Space.absolute(kept, weights)
    clip, names = pd.factorize(kept["clip"]) if "clip" in kept else (np.zeros(len(kept), np.int64), [""])
    moment = moments(kept)
    time = kept["time"].to_numpy(np.float64, na_value=np.nan) if "time" in kept else np.arange(len(kept)) * 1.0
    return _Faces(
        clip,
        tuple(map(str, names)),
        np.asarray(time, np.float64),
        np.arange(len(kept), dtype=np.float64) * 2 if moment is None else moment,
        seconds(kept),
        space.embed(kept),
        space.width,
    )


def _kinds(faces: _Faces) -> tuple[Kinds, NDArray[np.int64]]:
    """The kinds of the faces, and (K,) the region of each cell."""
    regions = _regions(faces.points, np.arange(len(faces.points)), radius_of(faces.width, ALIKE))
    found = [weighed(faces.points[rows], cells, own, faces.width, faces.lasts[rows]) for rows, cells, own in regions]
    if len(found) == 1:
        return found[0], np.zeros(len(found[0].rows), np.int64)
    sizes = np.array([len(kinds.rows) for kinds in found])
    cell = np.empty(len(faces.points), np.int32)
    for (rows, _, _), kinds, first in zip(regions, found, np.cumsum(sizes) - sizes, strict=True):
        cell[rows] = kinds.cell + first
    count = np.cumsum([0, *(kinds.kind.max() + 1 for kinds in found)])
    whole = Kinds(
        np.concatenate([rows[kinds.rows] for (rows, _, _), kinds in zip(regions, found, strict=True)]),
        cell,
        np.concatenate([kinds.kind + first for kinds, first in zip(found, count[:-1], strict=True)]),
        np.concatenate([kinds.weight for kinds in found]),
    )
    return whole, np.repeat(np.arange(len(found)), sizes)


def _regions(points: Floats, rows: NDArray[np.int64], radius: float) -> list[_Region]:
    """The rows of points (N, D), sorted into as few regions as have MOST_CELLS cells each at most."""
    own = points if len(rows) == len(points) else points[rows]
    cells, cell, reached = leaders(own, radius, MOST_CELLS, widen=False)
    if reached == radius:
        return [(rows, cells, cell)]
    centres, _, _ = leaders(own, radius, REGIONS)
    if len(centres) < 2:
        return [(rows, *leaders(own, radius, MOST_CELLS)[:2])]
    label = nearest(own, own[centres])[0].astype(np.int16)
    del own, cell
    return [part for i in range(len(centres)) for part in _regions(points, rows[label == i], radius)]


def _needed(faces: _Faces, kinds: Kinds, region: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cells of the smallest selection, region by region."""
    found = []
    for one in range(int(region.max()) + 1):
        cells = np.flatnonzero(region == one)
        points = faces.points[kinds.rows[cells]]
        found.append(cells[_smallest(points, points, faces.width, kinds.weight[cells])])
    return np.concatenate(found)


def _minutes(faces: _Faces, kinds: Kinds, region: NDArray[np.int64]) -> float:
    return _length(_united(faces, kinds, _needed(faces, kinds, region)))


def _length(found: tuple[Window, ...]) -> float:
    """Minutes of the windows."""
    return sum(w.end - w.start for w in found) / 60


def _smallest(cells: Floats, asked: Floats, width: float, weight: Doubles) -> NDArray[np.int64]:
    """Of the cells (K, D) those in the smallest selection that keeps KEEPS of what all cover of `asked` (M, D)."""
    problem = facility_location.Problem(cells, asked, width, weight, np.ones(len(cells), np.float32))
    return facility_location.order(problem, len(cells), enough=KEEPS).chosen


def _united(
    faces: _Faces, kinds: Kinds, cells: NDArray[np.int64], among: NDArray[np.bool_] | None = None
) -> tuple[Window, ...]:
    """The windows around a face of each cell, taken where the timeline grows least; the rarest are placed first.

    `among` (N,): only these faces are taken, and cells without any of them are left out.
    """
    wanted = np.zeros(len(kinds.rows), bool)
    wanted[cells] = True
    there = np.flatnonzero(wanted[kinds.cell] if among is None else wanted[kinds.cell] & among)
    order = there[np.argsort(kinds.cell[there], kind="stable")]
    ends = np.cumsum(np.bincount(kinds.cell[there], minlength=len(kinds.rows)))
    members = {int(c): order[(ends[c - 1] if c else 0) : ends[c]] for c in cells}
    centres, picked = np.zeros(0), []
    for cell in sorted(members, key=lambda c: (len(members[c]), c)):
        rows = members[cell][np.isfinite(faces.moment[members[cell]])]
        if not len(rows):
            continue
        rows = rows[np.argsort(faces.moment[rows], kind="stable")]
        added, away = _added(faces.moment[rows], centres)
        best = int(rows[np.lexsort((away, np.round(added, 6)))[0]])
        picked.append(best)
        centres = np.insert(centres, np.searchsorted(centres, faces.moment[best]), faces.moment[best])
    return _merged(faces, np.array(picked, np.int64))


def _added(moment: Doubles, centres: Doubles) -> tuple[Doubles, Doubles]:
    """(n,) seconds by which a window around each moment lengthens those around `centres` (sorted), and the distance
    to the nearest of them."""
    if not len(centres):
        return np.full(len(moment), WINDOW), np.zeros(len(moment))
    at = np.searchsorted(centres, moment)
    left = np.where(at > 0, moment - centres[np.maximum(at - 1, 0)], np.inf)
    right = np.where(at < len(centres), centres[np.minimum(at, len(centres) - 1)] - moment, np.inf)
    both = np.where(np.isfinite(left) & np.isfinite(right), np.minimum(left + right, WINDOW), 0.0)
    inner = np.where(np.isfinite(left), np.minimum(left, WINDOW), 0) + np.where(
        np.isfinite(right), np.minimum(right, WINDOW), 0
    )
    return inner - both, np.minimum(left, right)


def _merged(faces: _Faces, rows: NDArray[np.int64]) -> tuple[Window, ...]:
    """The windows around the faces `rows`, united, each within the times at which the clip shows the face."""
    found: list[Window] = []
    low, high = np.full(len(faces.names), np.inf), np.full(len(faces.names), -np.inf)
    np.fmin.at(low, faces.clip, faces.time)
    np.fmax.at(high, faces.clip, faces.time + faces.lasts)
    for clip in sorted(set(faces.clip[rows].tolist()), key=lambda c: faces.names[c]):
        centres = np.sort(faces.time[rows[faces.clip[rows] == clip]])
        found += _joined(faces.names[clip], centres, float(low[clip]), float(high[clip]))
    return tuple(found)


def _joined(name: str, centres: Doubles, low: float, high: float) -> list[Window]:
    """The windows of one clip, whose face is shown from `low` to `high`."""
    found: list[Window] = []
    for centre in centres.tolist():
        start, end = max(centre - WINDOW / 2, low), min(centre + WINDOW / 2, high)
        if found and start <= found[-1].end + SHORT:
            found[-1] = Window(name, found[-1].start, max(end, found[-1].end))
        else:
            found.append(Window(name, start, end))
    return found
