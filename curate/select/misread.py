"""Misread faces: those whose landmarks or pixels are wrong, so that they must not stand for others.

A face is misread if it differs from its neighbours in time by more than a head or a face moves (a jump there and back
within a frame or two), if the landmarker trusts it far less than the footage's other faces, or far less than the faces
a moment before and after, as in a dissolve.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.face.mesh import BLENDSHAPES
from curate.select.content import stands_for
from curate.vectors import rows_of

Doubles = NDArray[np.float64]

TURN, CHANGE = 12.0, 1.3
"""Degrees of head pose, and length of blendshapes, by which a misread face differs from its neighbours. In lively
footage (4 clips of 78 to 1,008 frames at 25 and 30 fps) no face differs by more than 6.5 and 0.93."""
TRUST = 0.55
"""A face whose landmark_confidence is below this share of the footage's median is misread."""
DROP, WITHIN, AROUND = 0.2, 2.0, 0.3
"""A face whose landmark_confidence is DROP below the median WITHIN so many seconds is misread, and so is what has
FEWEST of them AROUND it by so many seconds. On 6 of 7 real clips no face drops by as much, in a film scene two do; in
a dissolve of two heads faces drop by 0.3 and more."""
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
FEWEST = 3
"""Neighbours that a face needs, in order to be judged by them."""
SOON = 0.2
"""Seconds to a neighbour, on top of the time for which the earlier of the two stands, at most."""
CALM = 3.0
"""A face jumps only if it is away by CALM times the median distance of its neighbours to their own median: in pictures
and time lapses, where all differ, none is misread by it (benchmarks/misread.py)."""
MOST = 1 / 3
"""Where more than this share of a clip's faces jumps, the footage does (a time lapse): none is misread by it. No clip
of benchmarks/misread.py reaches it."""
PIECE = 10_000
_STEADY = tuple(i for i, name in enumerate(BLENDSHAPES) if not name.startswith("eye") and name != "neutral")
"""Blendshapes that a blink or a glance, which are over in a few frames, does not move."""


def misread(table: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) which faces of the table are misread. Without clip and time, only by their landmark_confidence."""
    found = _distrusted(table)
    if len(table) and {"clip", "time"} <= set(table):
        found |= _jumps(table)
        if "landmark_confidence" in table:
            found |= _drops(table)
    return found


def _distrusted(table: pd.DataFrame) -> NDArray[np.bool_]:
    if "landmark_confidence" not in table:
        return np.zeros(len(table), bool)
    trust = table["landmark_confidence"].to_numpy(np.float64, na_value=np.nan)
    if np.isnan(trust).all():
        return np.zeros(len(table), bool)
    low: NDArray[np.bool_] = trust < TRUST * np.nanmedian(trust)
    return low


def _drops(table: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) which faces the landmarker trusts far less than those a moment before and after."""
    time = table["time"].to_numpy(np.float64, na_value=np.nan)
    trust = table["landmark_confidence"].to_numpy(np.float64, na_value=np.nan)
    clip, _ = pd.factorize(table["clip"])
    order = np.lexsort((time, clip))
    order = order[np.isfinite(time[order]) & np.isfinite(trust[order])]
    at = time[order] - time[order].min() + clip[order] * (np.ptp(time[order]) + 10 * WITHIN) if len(order) else time[:0]
    index = pd.to_timedelta(at, unit="s")
    usual = pd.Series(trust[order], index).rolling(pd.Timedelta(seconds=2 * WITHIN), center=True).median().to_numpy()
    below = usual - trust[order]
    low = at[below > DROP]
    company = np.searchsorted(low, at + AROUND, "right") - np.searchsorted(low, at - AROUND)
    found = np.zeros(len(table), bool)
    found[order] = (below > DROP) | (company >= FEWEST)
    return found


def _jumps(table: pd.DataFrame) -> NDArray[np.bool_]:
    time = table["time"].to_numpy(np.float64, na_value=np.nan)
    clip, _ = pd.factorize(table["clip"])
    order = np.lexsort((time, clip))
    lasts = _lasts(time[order], clip[order], stands_for(table)[order])
    found, columns = np.zeros(len(table), bool), table[["yaw", "pitch", "expression"]]
    reach = max(NEIGHBOURS)
    for start in range(0, len(order), PIECE):
        low, high = max(start - reach, 0), min(start + PIECE + reach, len(order))
        rows = order[low:high]
        jumped = _jumped(columns.iloc[rows], time[rows], clip[rows], lasts[low:high])
        inner = slice(start - low, start - low + min(PIECE, len(order) - start))
        found[rows[inner]] = jumped[inner]
    usual = np.bincount(clip, found) > MOST * np.bincount(clip)
    return found & ~usual[clip]


def _lasts(time: Doubles, clip: NDArray[np.int64], frames: Doubles) -> Doubles:
    """(N,) seconds until the next face of the clip, at most those for which a face stands; in order of time."""
    step = np.diff(time, append=np.nan)
    step[np.append(clip[1:] != clip[:-1], True)] = 0
    return np.where(frames > 1, np.nan_to_num(step), 0.0)


def _jumped(rows: pd.DataFrame, time: Doubles, clip: NDArray[np.int64], lasts: Doubles) -> NDArray[np.bool_]:
    """(n,) which faces are far from most of their neighbours; rows in order of time."""
    count = len(rows)
    at = np.arange(count)[:, None] + np.array(NEIGHBOURS)
    inside = (at >= 0) & (at < count)
    at = np.clip(at, 0, count - 1)
    waited = np.concatenate([[0.0], np.cumsum(lasts)])
    gap = np.abs(time[at] - time[:, None]) - np.abs(waited[at] - waited[:count, None])
    near = inside & (clip[at] == clip[:, None]) & (gap <= SOON)
    known = near.sum(1) >= FEWEST
    found = np.zeros(count, bool)
    for values, limit in ((_looks(rows), TURN), (_shapes(rows), CHANGE)):
        away, usual = _away(values, at, near, limit)
        found |= known & (away > np.maximum(limit, CALM * usual))
    return found


def _away(values: Doubles, at: NDArray[np.int64], near: NDArray[np.bool_], limit: float) -> tuple[Doubles, Doubles]:
    """(n,) distance to the neighbours' median, or to the second nearest neighbour if that is less, and (n,) the median
    distance of the neighbours to their median; only the former distance where it is not above `limit`."""
    apart = np.sqrt(np.square(values[at] - values[:, None]).sum(2))
    second = np.sort(np.where(near, apart, np.inf), axis=1)[:, 1]
    middle, usual = np.full(len(values), np.inf), np.zeros(len(values))
    far = np.flatnonzero(second > limit)
    some = far[(near[far] & np.isfinite(values[at[far]]).all(2)).sum(1) >= FEWEST]  # there may be no expressions
    around = np.where(near[some][:, :, None], values[at[some]], np.nan)
    centre = np.nanmedian(around, axis=1)
    middle[some] = np.sqrt(np.square(centre - values[some]).sum(1))
    usual[some] = np.nanmedian(np.sqrt(np.square(around - centre[:, None]).sum(2)), axis=1)
    return np.asarray(np.nan_to_num(np.minimum(second, middle), nan=0.0), np.float64), usual


def _looks(rows: pd.DataFrame) -> Doubles:
    """(n, 3) direction of the head in degrees, as the diversity space has it; NaN where null."""
    yaw, pitch = (np.radians(rows[c].to_numpy(np.float64, na_value=np.nan)) for c in ("yaw", "pitch"))
    looks = np.column_stack([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return np.asarray(np.degrees(looks), np.float64)


def _shapes(rows: pd.DataFrame) -> Doubles:
    """(n, S) blendshapes of _STEADY; NaN where null."""
    packed = rows_of(rows["expression"], len(BLENDSHAPES))
    if packed is not None:
        return packed[:, _STEADY].astype(np.float64)
    empty = np.full(len(BLENDSHAPES), np.nan, np.float32)
    shapes = [empty if v is None or np.ndim(v) != 1 else v for v in rows["expression"]]
    return np.array(shapes, np.float64).reshape(len(rows), len(BLENDSHAPES))[:, _STEADY]
