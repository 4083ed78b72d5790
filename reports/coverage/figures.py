"""The figures of the coverage page, computed from the table and the selection alone; no pictures, no markup."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.extract import account, census
from curate.schema import QUALITY
from curate.scores.expression import AXES
from curate.select import coverage, facility_location, keep, outcome
from curate.select.content import in_content_order, rows_of, seconds
from curate.select.coverage import PITCH_EDGES, YAW_EDGES
from curate.select.gaps import Gap, gaps_for
from curate.select.reading import all_faces, kept_faces
from curate.select.space import SPACE_COLUMNS, posed
from curate.types import Clip, Floats
from reports.coverage import spread

Counts = NDArray[np.int64]
SAMPLE = 6000
"""The curve's continuation is read from at most this many faces, drawn by their content."""
MORE, MOST_MORE = 3, 4000
"""The curve goes on to so many times the selection, at most so many faces."""
LIGHT_EDGES = np.linspace(-1, 1, 13)
THIN = 0.005
"""A range of pose counts as present from its first to its last .5 % of faces."""


@dataclass(frozen=True)
class Plane:
    """Two axes: counts (rows, columns), row 0 at the top of the page."""

    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]
    footage: Counts
    selection: Counts
    target: Counts | None = None


@dataclass(frozen=True)
class PoseUse:
    """How the cells of the pose map are used."""

    cells: int
    """With a face in them."""
    entropy: float
    """Bits: 2 to its power is the number of cells that are used evenly."""


@dataclass(frozen=True)
class ClipRow:
    """What one clip gave."""

    name: str
    seconds: float
    size: str
    fps: float
    frames: int
    faces: int
    kept: int
    selected: int
    keep: float | None
    """Minutes worth keeping of the clip alone; None for photos and for clips beyond keep.WORTH_CLIPS."""
    adds: float | None
    """Minutes worth keeping that the faceset would lose without it."""
    sha256: str


@dataclass(frozen=True)
class Dropped:
    """Faces that are not kept, by reason."""

    reason: str
    faces: int
    share: float
    """Of all faces, 0..1."""
    examples: tuple[str, ...]
    """Paths of crops."""


@dataclass(frozen=True)
class Cluster:
    """Chosen faces of one group, in order of choice."""

    number: int
    name: str
    faces: int
    crops: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """A performance that is to be covered."""

    name: str
    folder: str
    faces: int
    before: float
    """0..1: coverage by all eligible faces."""
    after: float
    """By the selection."""
    gaps: tuple[Gap, ...]
    """Largest share first."""


@dataclass(frozen=True)
class Figures:
    """Everything that the page says."""

    minutes: float
    keep_minutes: float | None
    """Minutes worth keeping; None for photos."""
    distinct_faces: int
    """Faces in the smallest selection that keeps keep.KEEPS of the coverage."""
    faces: int
    kept: int
    eligible: int
    """Of them those that passed the floors when the selection was made."""
    selected: int
    coverage: float | None
    """0..1, of the kept faces by the selection, as stored with it; None where it cannot be computed."""
    bound: float | None
    """0..1: share of the value of the best possible choice of as many faces that is certain; None: not known."""
    notes: tuple[str, ...]
    """What the reader has to know about these figures, a sentence each."""
    curve: Floats
    """(K,) coverage by the first 1..K chosen faces, as stored with the selection."""
    more: Floats
    """(M,) coverage by K + 1..K + M faces, if as many more were chosen."""
    distinct: dict[str, float]
    """Effective number of distinct faces (Vendi score) of the footage by block, and joint."""
    redundancy: float
    """0..1, share of the footage that shows what another of its faces shows already."""
    pose: Plane
    pose_use: tuple[PoseUse, PoseUse]
    """Of footage and selection."""
    yaw_range: tuple[float, float] | None
    """Degrees between which there are faces, but for .5 % at each end."""
    pitch_range: tuple[float, float] | None
    poses_lacking: int
    """Cells of the pose map where the footage has faces and the selection none."""
    expressions: tuple[spread.Spread, ...]
    light: Plane
    exposure: tuple[spread.Spread, ...]
    quality: tuple[spread.Spread, ...]
    clips: tuple[ClipRow, ...]
    dropped: tuple[Dropped, ...]
    clusters: tuple[Cluster, ...]
    target: Target | None


MEASURED = ("face_id", "clip", "frame", "time", "stands_for", "kept", *SPACE_COLUMNS)
COLUMNS = (
    "face_id", "clip", "crop", "status", "kept", "yaw", "pitch", "light_x", "light_y", *AXES, *(c.name for c in QUALITY)
)  # fmt: skip
"""Columns of the two parts in which the table is read; only the first has vectors."""


@dataclass(frozen=True)
class _Measured:
    """The figures that need the diversity space."""

    worth: dict[str, keep.Worth]
    notes: tuple[str, ...]
    more: Floats
    distinct: dict[str, float]
    redundancy: float
    exposure: tuple[spread.Spread, ...]


def _measured(
    faceset: Faceset, stored: outcome.Outcome, target: Faceset | None, wanted: pd.DataFrame | None
) -> _Measured:
    kept = kept_faces(faceset, MEASURED)
    chosen = faceset.selected(MEASURED)
    chosen = chosen[chosen["kept"].astype(bool)].reset_index(drop=True)
    return _Measured(
        {w.clip: w for w in keep.worth(kept, stored.weights)},
        outcome.remarks_on(faceset, stored, kept, target, wanted),
        _more(stored, kept, chosen),
        coverage.distinct(kept),
        coverage.redundancy(kept),
        tuple(spread.lighting(kept, chosen, i) for i in (3, 4)),
    )


def figures(faceset: Faceset, target: Faceset | None = None, examples: int = 8, strip: int = 12) -> Figures:
    """Compute them, with `target` beside the performance that is to be covered.

    Raises WorkError where there is no table or no selection, or no pose in the target.
    """
    wanted = None if target is None else posed(target.table(list({*MEASURED, *COLUMNS}), kept=True))
    stored = outcome.read_outcome(faceset)
    measured = _measured(faceset, stored, target, wanted)
    table = all_faces(faceset, COLUMNS)
    kept = rows_of(table, np.flatnonzero(table["kept"]))
    chosen = faceset.selection().merge(kept, on="face_id", how="inner").sort_values("rank", ignore_index=True)
    pose, use = _pose(kept, chosen, wanted)
    return Figures(
        minutes=sum(c.seconds for c in faceset.clips) / 60,
        keep_minutes=stored.amounts.keep_minutes,
        distinct_faces=stored.amounts.faces,
        faces=len(table),
        kept=len(kept),
        eligible=stored.eligible,
        selected=len(chosen),
        coverage=stored.coverage,
        bound=stored.bound,
        notes=(*_found(faceset), *measured.notes),
        curve=stored.curve,
        more=measured.more,
        distinct=measured.distinct,
        redundancy=measured.redundancy,
        pose=pose,
        pose_use=use,
        yaw_range=spread.span(kept["yaw"], THIN),
        pitch_range=spread.span(kept["pitch"], THIN),
        poses_lacking=int(((pose.footage > 0) & (pose.selection == 0)).sum()),
        expressions=tuple(spread.expression(kept, chosen, name, wanted) for name in AXES),
        light=_light(kept, chosen, wanted),
        exposure=measured.exposure,
        quality=tuple(spread.quality(kept, chosen, c.name) for c in QUALITY),
        clips=tuple(_clip_row(c, table, chosen, measured.worth.get(c.name)) for c in faceset.clips),
        dropped=_dropped(table, examples),
        clusters=_clusters(chosen, strip),
        target=None if target is None or wanted is None else _target(faceset, stored, target, wanted),
    )


def _found(faceset: Faceset) -> tuple[str, ...]:
    """Notes on frames that are missing and on the people in the footage."""
    return (*account.notes(faceset), *census.people(faceset)[1])


def _more(stored: outcome.Outcome, kept: pd.DataFrame, chosen: pd.DataFrame) -> Floats:
    """(M,) the curve's continuation, in the space of the selection."""
    kept, chosen = in_content_order(kept, kept["yaw"].notna().to_numpy()), chosen[chosen["yaw"].notna()]
    if kept.empty or chosen.empty or stored.space is None or stored.coverage is None:
        return np.zeros(0, np.float32)
    points, picked = stored.space.embed(kept.iloc[:SAMPLE]), stored.space.embed(chosen)
    weight = seconds(kept)[:SAMPLE]
    both = np.concatenate([picked, points])
    problem = facility_location.Problem(both, points, stored.space.width, weight, np.ones(len(both), np.float32))
    length = min(MORE * len(picked), len(picked) + MOST_MORE, len(kept))
    order = facility_location.order(problem, length, first=range(len(picked)))
    added = order.gains[len(picked) :].cumsum() * order.total
    # Near-duplicates, of which the order may be full at the end, add nothing to the picture.
    return np.minimum(stored.coverage + added[order.gains[len(picked) :] > 0], 1).astype(np.float32)


def _target(faceset: Faceset, stored: outcome.Outcome, target: Faceset, wanted: pd.DataFrame) -> Target:
    """Coverage of the target, as stored where the selection was made for it, and its gaps."""
    name = target.subject.name if target.subject else target.folder.name
    found = outcome.target_outcome(faceset, stored, target)
    lacks = gaps_for(faceset, target, stored.weights)
    return Target(name, str(target.folder.resolve()), len(wanted), found.before, found.after, lacks)


def _pose(
    kept: pd.DataFrame, chosen: pd.DataFrame, wanted: pd.DataFrame | None
) -> tuple[Plane, tuple[PoseUse, PoseUse]]:
    tables = (kept, chosen) if wanted is None else (kept, chosen, wanted)
    bins = [coverage.pose_bins(t["yaw"].to_numpy(np.float64), t["pitch"].to_numpy(np.float64)) for t in tables]
    use = [PoseUse(b.occupied, b.entropy) for b in bins]
    return Plane(YAW_EDGES, PITCH_EDGES, *(b.counts for b in bins)), (use[0], use[1])


def _light(kept: pd.DataFrame, chosen: pd.DataFrame, wanted: pd.DataFrame | None) -> Plane:
    both = []
    for table in (kept, chosen) if wanted is None else (kept, chosen, wanted):
        xy = table[["light_x", "light_y"]].to_numpy(np.float64)
        xy = np.clip(xy[np.isfinite(xy).all(axis=1)], -1, 1)
        counts, _, _ = np.histogram2d(xy[:, 1], xy[:, 0], bins=(LIGHT_EDGES, LIGHT_EDGES))
        both.append(counts[::-1].astype(np.int64))
    return Plane(LIGHT_EDGES, LIGHT_EDGES[::-1], *both)


def _clip_row(clip: Clip, table: pd.DataFrame, chosen: pd.DataFrame, worth: keep.Worth | None) -> ClipRow:
    rows = table[table["clip"] == clip.name]
    selected = int((chosen["clip"] == clip.name).sum())
    size = f"{clip.width} × {clip.height}"
    return ClipRow(
        clip.name,
        clip.seconds,
        size,
        clip.fps,
        clip.frames,
        len(rows),
        int(rows["kept"].sum()),
        selected,
        worth.keep if worth and clip.fps else None,
        worth.adds if worth and clip.fps else None,
        clip.sha256,
    )


def _dropped(table: pd.DataFrame, examples: int) -> tuple[Dropped, ...]:
    found = []
    for reason, rows in table[~table["kept"]].groupby("status", sort=False):
        crops = rows["crop"].dropna()
        at = np.unique(np.linspace(0, max(len(crops) - 1, 0), min(len(crops), examples)).astype(int))
        found.append(Dropped(str(reason), len(rows), len(rows) / len(table), tuple(crops.iloc[at])))
    return tuple(sorted(found, key=lambda d: -d.faces))


def _clusters(chosen: pd.DataFrame, strip: int) -> tuple[Cluster, ...]:
    found = []
    for number, rows in chosen.groupby("cluster"):
        named = rows["group"].dropna()
        name = str(named.iloc[0]) if len(named) else f"group {number}"
        found.append(Cluster(int(str(number)), name, len(rows), tuple(rows["crop"].dropna().head(strip))))
    return tuple(sorted(found, key=lambda c: (-c.faces, c.number)))


def to_json(found: Figures) -> dict[str, Any]:
    """All figures as JSON values."""
    plain: dict[str, Any] = _plain(asdict(found))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value
