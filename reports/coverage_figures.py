"""The figures of the coverage page, computed from the table and the selection alone; no pictures, no markup."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.coverage import PITCH_EDGES, YAW_EDGES, coverage, curve, effective, frame_rate, pose_bins
from curate.expression import AXES
from curate.faceset import Faceset
from curate.space import Space
from curate.table import QUALITY
from curate.types import Clip, Floats
from reports import spread

Counts = NDArray[np.int64]
SAMPLE = 6000
"""Coverage is read from at most this many faces, evenly spread over the footage."""
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
class Figures:
    """Everything that the page says."""

    minutes: float
    effective_minutes: float | None
    effective_faces: int
    faces: int
    kept: int
    selected: int
    coverage: float | None
    """0..1, of the kept faces by the selection; None where it cannot be computed."""
    curve: Floats
    """(K,) coverage by the first 1..K chosen faces."""
    pose: Plane
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


COLUMNS = (
    "face_id", "clip", "crop", "yaw", "pitch", "roll", "expression", "gaze", "lighting", "light_x", "light_y", "status",
    "kept", *AXES, *(c.name for c in QUALITY),
)  # fmt: skip


def figures(faceset: Faceset, examples: int = 8, strip: int = 12) -> Figures:
    """Compute them; raises WorkError where there is no table or no selection."""
    table = faceset.table(COLUMNS)
    selection = faceset.selection()
    kept = table[table["kept"]]
    chosen = selection.merge(kept, on="face_id", how="inner").sort_values("rank", ignore_index=True)
    steps, most = _coverage(kept, chosen)
    worth = effective(kept, frame_rate(faceset.clips))
    pose = _pose(kept, chosen)
    return Figures(
        minutes=sum(c.seconds for c in faceset.clips) / 60,
        effective_minutes=worth.minutes,
        effective_faces=worth.faces,
        faces=len(table),
        kept=len(kept),
        selected=len(chosen),
        coverage=most,
        curve=steps,
        pose=pose,
        yaw_range=spread.span(kept["yaw"], THIN),
        pitch_range=spread.span(kept["pitch"], THIN),
        poses_lacking=int(((pose.footage > 0) & (pose.selection == 0)).sum()),
        expressions=tuple(spread.expression(kept, chosen, name) for name in AXES),
        light=_light(kept, chosen),
        exposure=tuple(spread.lighting(kept, chosen, i) for i in (3, 4)),
        quality=tuple(spread.quality(kept, chosen, c.name) for c in QUALITY),
        clips=tuple(_clip_row(c, table, chosen) for c in faceset.clips),
        dropped=_dropped(table, examples),
        clusters=_clusters(chosen, strip),
    )


def _coverage(kept: pd.DataFrame, chosen: pd.DataFrame) -> tuple[Floats, float | None]:
    kept, chosen = kept[kept["yaw"].notna()], chosen[chosen["yaw"].notna()]
    if kept.empty or chosen.empty:
        return np.zeros(0, np.float32), None
    kept = kept.sort_values("face_id", ignore_index=True)
    space = Space.fit(kept)
    rows = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), SAMPLE)).astype(int))
    points, picked = space.embed(kept.iloc[rows]), space.embed(chosen)
    return curve(space, points, picked), coverage(space, points, picked)


def _pose(kept: pd.DataFrame, chosen: pd.DataFrame) -> Plane:
    both = [pose_bins(t["yaw"].to_numpy(np.float64), t["pitch"].to_numpy(np.float64)).counts for t in (kept, chosen)]
    return Plane(YAW_EDGES, PITCH_EDGES, both[0], both[1])


def _light(kept: pd.DataFrame, chosen: pd.DataFrame) -> Plane:
    both = []
    for table in (kept, chosen):
        xy = table[["light_x", "light_y"]].to_numpy(np.float64)
        xy = np.clip(xy[np.isfinite(xy).all(axis=1)], -1, 1)
        counts, _, _ = np.histogram2d(xy[:, 1], xy[:, 0], bins=(LIGHT_EDGES, LIGHT_EDGES))
        both.append(counts[::-1].astype(np.int64))
    return Plane(LIGHT_EDGES, LIGHT_EDGES[::-1], both[0], both[1])


def _clip_row(clip: Clip, table: pd.DataFrame, chosen: pd.DataFrame) -> ClipRow:
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
        named = rows["reason"].str.extract(r"'(.+)'", expand=False).dropna()
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
