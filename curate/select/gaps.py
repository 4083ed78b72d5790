"""Gaps of a source for a target: faces of the target with no counterpart in the source, named in words.

A face of the target is missed if it is farther from every face of the source than the source's own faces are from
those of other moments (their LIMIT quantile): a lively source is not blamed for being sparse. Missed faces are put
together by what they lie beyond: first the axis (yaw, mouth, light ...) on which most of them lie outside what the
source has, with all faces of the target beyond that bound; then the next; what is left over lies inside the source's
range on every axis, and is a combination that it does not have, named by its cluster. An axis on which nearly all of
the target lies outside (another light throughout) is reported once; its block is then left out of the comparison, or it
would hide every other gap. Shares are of the footage: a face counts as long as it is shown.

Expression and pitch are measured from each subject's own neutral, so what a target does throughout (it smiles, it looks
down) is hidden there; `curate.select.habits` finds it in the values as they were measured.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.axes import READABLE
from curate.dataset.faceset import Faceset
from curate.dataset.pins import read_pins
from curate.errors import WorkError
from curate.face.pose import matrix
from curate.scores.expression import AXES
from curate.select.cluster import cluster
from curate.select.content import seconds
from curate.select.coverage import nearest
from curate.select.habits import Habit, habits
from curate.select.kinds import ALIKE
from curate.select.options import FLOOR_COLUMNS, SelectionOptions, Weights
from curate.select.persist import options_then
from curate.select.pool import pool_of
from curate.select.space import SPACE_COLUMNS, Space, light_of, neutral_of, posed, together
from curate.types import Floats

LIMIT = 0.95
APART = 1.0
"""Seconds between two moments of one clip."""
EDGE = 0.005
"""A source reaches from this quantile on an axis to the opposite one."""
LEAST_SHARE = 0.02
"""Of the target's footage: less is no gap."""
THROUGHOUT = 0.8
"""Of the target's footage: what is missing in so much of it is a difference of the footage as a whole."""
MOST = 8
EXAMPLES = 4
SPANS = 3
SAMPLE = 3000


@dataclass(frozen=True)
class Gap:
    """Faces of the target with no counterpart in the source."""

    words: str
    """What they look like, as "turned right 12 to 41 deg, mouth open"; sides are the subject's own."""
    share: float
    """Of the target's footage, 0..1."""
    axis: str | None
    """The axis of READABLE that the source does not reach; None for a combination."""
    low: float | None
    high: float | None
    """Their range on that axis."""
    adds: float
    """Coverage of the target, 0..1, that footage of such faces would add."""
    away: float
    """Degrees between the turn of such a face and that of the source's face nearest in pose (median)."""
    spans: tuple[tuple[str, float, float], ...]
    """The longest stretches of the target: clip, first and last second."""
    faces: tuple[str, ...]
    """Examples in the target, face ids."""
    nearest: tuple[str, ...]
    """The source's face most like each of them."""

    def sentence(self) -> str:
        """A sentence for people: how much of the target it is, what it shows, and what to do."""
        where = "; ".join(f"{clip} {time_code(a)}-{time_code(b)}" for clip, a, b in self.spans[:1])
        away = f"the nearest source face is {self.away:.0f} deg away" if self.away >= 5 else "no source face is similar"
        more = f"; it would cover {100 * self.adds:.0f} % more of the target" if self.adds >= 0.005 else ""
        return f"{100 * self.share:.0f} % of the target ({self.words}): {away}; film faces as in {where}{more}"


GAP_COLUMNS = list(
    dict.fromkeys(
        (
            *("face_id", "clip", "frame", "time", "kept", "stands_for", "landmark_confidence"),
            *(*SPACE_COLUMNS, *AXES, *FLOOR_COLUMNS),
        )
    )
)


def gaps_for(source: Faceset, target: Faceset, weights: Weights | None = None) -> tuple[Gap, ...]:
    """The gaps of the source's eligible faces, with the floors of its last selection, for the target's kept ones."""
    there = source.selection_path.is_file()
    options = options_then(source.selection_options()) if there else SelectionOptions()
    options = replace(options, weights=weights or options.weights)
    want = posed(target.table(GAP_COLUMNS))
    try:
        have = pool_of(source.table(GAP_COLUMNS, kept=True), options, read_pins(source)).faces
    except WorkError:  # nothing is eligible
        return ()
    hidden = tuple(_of_habit(source, have, want, habit) for habit in habits(source, have, target, want))
    found = gaps(Space.fit(together(have, want), options.weights), have, want)
    return tuple(sorted((*hidden, *found), key=lambda gap: -gap.share)[:MOST])


def _of_habit(source: Faceset, have: pd.DataFrame, want: pd.DataFrame, habit: Habit) -> Gap:
    axis, rows = READABLE[habit.axis], np.flatnonzero(habit.beyond)
    words = f"{axis.high if habit.side > 0 else axis.low} throughout, more than the source ever does"
    examples = rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).astype(int))]
    return Gap(
        words,
        habit.share,
        habit.axis,
        habit.low,
        habit.high,
        0.0,
        0.0,
        _spans(want[habit.beyond], seconds(want)[habit.beyond]),
        tuple(want["face_id"].iloc[examples].astype(str)),
        (str(have["face_id"].iloc[habit.nearest]),) * len(examples),
    )


def missed_by(
    source: pd.DataFrame, target: pd.DataFrame, weights: Weights | None = None, without: Collection[str] = ()
) -> tuple[Floats, NDArray[np.bool_]]:
    """(M, D) points of the target's faces in units of the space's width, and which of them the source misses.

    Tables as in `gaps`, neither empty. `without`: axes of READABLE whose blocks are left out of the comparison.
    """
    space = Space.fit(together(source, target), weights)
    have, want = space.embed(source, neutral_of(source)), space.embed(target, neutral_of(target))
    for name in without:
        for points in (have, want):
            space.block(points, READABLE[name].block)[:] = 0
    return want / np.float32(space.width), _missed(space, source, have, want)


def gaps(space: Space, source: pd.DataFrame, target: pd.DataFrame) -> tuple[Gap, ...]:
    """The gaps, largest share first, at most MOST.

    `source` and `target`: kept faces with a pose (SPACE_COLUMNS, the axes of expression, face_id, clip, time); each
    subject's lighting is taken about its own neutral.
    """
    if not len(source) or not len(target):
        return ()
    have, want = space.embed(source, neutral_of(source)), space.embed(target, neutral_of(target))
    asked = _Asked(source, target, have, want, readable(target), seconds(target))
    missed = _missed(space, source, have, want)
    found: list[Gap] = []
    bounds = _bounds(readable(source))
    while len(found) < MOST and asked.share(missed) >= LEAST_SHARE:
        outside = {
            key: asked.share(missed & asked.beyond(*key, bound, READABLE[key[0]].margin))
            for key, bound in bounds.items()
        }
        best = max(outside, key=lambda key: outside[key], default=None)
        if best is None or outside[best] < LEAST_SHARE:
            break
        name, bound = best[0], bounds.pop(best)
        region = asked.beyond(*best, bound, 0.0)
        shown = region & (missed | (nearest(space, want, have) < ALIKE))
        found.append(_gap(space, asked, missed & region, shown, best))
        missed = missed & ~region
        if asked.share(region) >= THROUGHOUT:
            for points in (have, want):
                space.block(points, READABLE[name].block)[:] = 0
            bounds = {key: b for key, b in bounds.items() if READABLE[key[0]].block != READABLE[name].block}
            missed = _missed(space, source, have, want)
    found += _combinations(space, asked, missed)
    return tuple(sorted(found, key=lambda gap: -gap.share)[:MOST])


@dataclass(frozen=True, eq=False)
class _Asked:
    """Source and target, as gaps are looked for."""

    source: pd.DataFrame
    target: pd.DataFrame
    have: Floats
    want: Floats
    values: dict[str, NDArray[np.float64]]
    """(M,) the target's values of every axis of READABLE."""
    lasts: NDArray[np.float64]
    """(M,) seconds for which each face of the target stands."""

    def share(self, faces: NDArray[np.bool_]) -> float:
        """0..1, share of the target's footage."""
        return float(self.lasts[faces].sum() / self.lasts.sum())

    def beyond(self, name: str, side: int, bound: float, margin: float) -> NDArray[np.bool_]:
        """(M,) which faces lie further out on an axis than `bound` by more than `margin`."""
        outside: NDArray[np.bool_] = side * (self.values[name] - bound) > margin
        return outside


def _bounds(supply: dict[str, NDArray[np.float64]]) -> dict[tuple[str, int], float]:
    """Axis and side to how far the source reaches; roll is no axis, since crops are upright."""
    return {
        (name, side): side * float(np.nanquantile(side * supply[name], 1 - EDGE))
        for name, axis in READABLE.items()
        for side in (-1, 1)
        if name != "roll" and (axis.high if side > 0 else axis.low) and np.isfinite(supply[name]).any()
    }


def _missed(space: Space, source: pd.DataFrame, have: Floats, want: Floats) -> NDArray[np.bool_]:
    """(M,) which faces of the target are farther from the source than its own moments are from each other."""
    near = np.maximum(nearest(space, want, have).astype(np.float64), 1e-30)
    far: NDArray[np.bool_] = np.sqrt(-2 * np.log(near)) * space.width > _own_limit(space, source, have)
    return far


def readable(table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """(N,) values of every axis of READABLE; light about the subject's own median; NaN where not known."""
    values = {name: np.asarray(table[name], np.float64) for name in ("yaw", "pitch", "roll", *AXES)}
    looks = [g if g is not None and np.ndim(g) == 1 else (np.nan, np.nan) for g in table["gaze"]]
    gaze = np.array(looks, np.float64).reshape(len(table), 2)
    light = light_of(table, neutral_of(table))
    return values | {
        "gaze_left": gaze[:, 0],
        "gaze_up": gaze[:, 1],
        "light_left": light[:, 0],
        "light_up": light[:, 1],
        "exposure": light[:, 3],
        "warmth": light[:, 4],
    }


def _own_limit(space: Space, source: pd.DataFrame, points: Floats) -> float:
    """How far the source's faces are from those of other moments (quantile LIMIT); at least half the width."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(len(points), SAMPLE)).astype(int))
    clip = pd.factorize(source["clip"])[0][rows]
    time = source["time"].to_numpy(np.float64)[rows]
    near = np.empty(len(rows))
    for i, row in enumerate(rows):
        other = (clip != clip[i]) | (np.abs(time - time[i]) >= APART)
        squares = np.square(points[rows[other]] - points[row]).sum(1)
        near[i] = np.sqrt(squares.min()) if len(squares) else 0.0
    return max(float(np.quantile(near, LIMIT)), 0.5 * space.width)


def _combinations(space: Space, asked: _Asked, missed: NDArray[np.bool_]) -> list[Gap]:
    """Missed faces within the source's range on every axis, by the cluster that they are in."""
    if asked.share(missed) < LEAST_SHARE:
        return []
    rows = np.flatnonzero(missed)
    groups = cluster(space, asked.want[rows], asked.target.iloc[rows].reset_index(drop=True))
    found = []
    for label, name in enumerate(groups.names):
        faces = np.zeros(len(missed), bool)
        faces[rows[groups.labels == label]] = True
        if asked.share(faces) >= LEAST_SHARE:
            found.append(_gap(space, asked, faces, faces, None, name))
    return found


def _gap(
    space: Space,
    asked: _Asked,
    missed: NDArray[np.bool_],
    region: NDArray[np.bool_],
    axis: tuple[str, int] | None,
    words: str = "",
) -> Gap:
    low = high = None
    if axis is not None:
        low, high = (float(v) for v in np.nanquantile(asked.values[axis[0]][region], (0, 1)))
        words = _words(axis, low, high, missed, asked.values)
    examples = _examples(asked.want, np.flatnonzero(missed))
    like = [int(np.square(asked.have - asked.want[i]).sum(1).argmin()) for i in examples]
    lacks = 1 - nearest(space, asked.want[missed], asked.have).astype(np.float64)
    return Gap(
        words,
        asked.share(region),
        axis[0] if axis else None,
        low,
        high,
        float(lacks @ asked.lasts[missed] / asked.lasts.sum()),
        _away(asked.source, asked.target[missed]),
        _spans(asked.target[region], asked.lasts[region]),
        tuple(str(asked.target["face_id"].iloc[i]) for i in examples),
        tuple(str(asked.source["face_id"].iloc[i]) for i in like),
    )


def _words(
    axis: tuple[str, int], low: float, high: float, missed: NDArray[np.bool_], asked: dict[str, NDArray[np.float64]]
) -> str:
    name, side = axis
    known = READABLE[name]
    words = [known.high if side > 0 else known.low]
    if known.unit == "deg":
        near, far = sorted((abs(low), abs(high))) if low * high > 0 else (0.0, max(abs(low), abs(high)))
        words[0] += f" {near:.0f} to {far:.0f} deg"
    beside = [n for n in ("jawOpen", "smile", "blink") if n != name and np.nanmedian(asked[n][missed]) > 0.3]
    return ", ".join(words + [READABLE[n].high for n in beside])


def _away(source: pd.DataFrame, missed: pd.DataFrame) -> float:
    """Median angle in degrees from the missed faces to the source's face nearest in pose."""
    turns = [
        matrix(*t.iloc[np.unique(np.linspace(0, len(t) - 1, min(len(t), SAMPLE)).astype(int))].to_numpy(np.float64).T)
        for t in (source[["yaw", "pitch", "roll"]], missed[["yaw", "pitch", "roll"]])
    ]
    traces = turns[1].reshape(-1, 9) @ turns[0].reshape(-1, 9).T
    return float(np.median(np.degrees(np.arccos(np.clip((traces.max(1) - 1) / 2, -1, 1)))))


def _examples(points: Floats, rows: NDArray[np.int64]) -> list[int]:
    """Rows of a few faces that differ from each other, farthest first from what was taken; the middle one begins."""
    centre = points[rows].mean(0)
    chosen = [int(rows[np.square(points[rows] - centre).sum(1).argmin()])]
    while len(chosen) < min(EXAMPLES, len(rows)):
        apart = np.min([np.square(points[rows] - points[i]).sum(1) for i in chosen], axis=0)
        chosen.append(int(rows[apart.argmax()]))
    return chosen


def _spans(rows: pd.DataFrame, lasts: NDArray[np.float64]) -> tuple[tuple[str, float, float], ...]:
    """The longest stretches without a break of more than APART seconds of faces that are shown for `lasts` each."""
    found = []
    rows = rows.assign(ends=rows["time"].to_numpy(np.float64) + lasts)
    for clip, group in rows.sort_values("time").groupby("clip"):
        time, ends = group["time"].to_numpy(np.float64), np.maximum.accumulate(group["ends"].to_numpy(np.float64))
        breaks = np.flatnonzero(time[1:] - ends[:-1] > APART) + 1
        for piece in np.split(np.arange(len(time)), breaks):
            found.append((str(clip), float(time[piece[0]]), float(ends[piece[-1]])))
    return tuple(sorted(found, key=lambda s: (s[1] - s[2], s[0], s[1]))[:SPANS])


def time_code(seconds: float) -> str:
    """Seconds as minutes and seconds: 01:02.3."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02d}:{rest:04.1f}"
