"""Measures of one stretch of frames from the numbers of each frame, with a reference (full) and without one (no)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.artifacts import detail, geometry, match, outline, texture
from reports.artifacts import temporal as t
from reports.artifacts.kinds import FULL_REFERENCE_MOTION, NO_REFERENCE_MOTION
from reports.artifacts.landmarks import FIRST, NAMES
from reports.artifacts.parts import SCALE

Doubles = t.Doubles
LIPS_OPEN = 0.15
"""cm of an average head: where mouth opening and width change less than this in 0.1 s, a lag cannot be seen."""
TOLERANCE = 1.5
"""Per cent of the face's width by which another face's features may always differ in place from the reference's."""
AROUND_SECONDS = 8.0
"""Window of the median that is usual: sharpness and lines change slowly as a head turns, faults come at once."""
LINE_SECONDS = 0.3
"""Window of the median over a line without a reference."""
SLOWLY = 0.4
"""Weight of a change of light that did not come about by a jump: a head turns under light from one side, too."""
SHAKEN, STILL = 9, 0.05
"""Frames of the median over shaking, and per cent of the face's width: frames in which neither face nor surroundings
move further are repeats, as conversions of the frame rate insert them, and take no part."""
FAST_LIGHT, FAST_COLOUR = 0.5, 2.0
"""Allowance for fast movement, which blurs: flicker (per cent) and colour (CIELAB) that are subtracted without a
reference for each per cent of the face's width that it moves per frame."""
FAST_DETAIL, FASTER = 0.4, 0.5
"""Octaves of lost detail that are subtracted without a reference for each per cent of its width per frame by which a
face moves more than FASTER than usual; set on a nodding head."""
ECHOING = 25.0
"""Luma levels of coding noise that double chance echoes in the spectrum; fitted on clips at CRF 34."""
BLURRING = 4.0
"""Luma levels of coding noise that double the scatter of landmarks; fitted on clips at CRF 28 and 34."""
UNSTEADY = 1.5
"""Per cent of the face's width by which the mean of the landmarks may always be off."""
LONGER = 9
"""Frames: a face that is thrown off for four of them is back within this window."""
AWAY = 5.0
"""Per cent of the face's width out of place that count as much as one CIELAB unit of `popped`."""
LIPS_MOVE = 1.5
"""L* levels: the same as LIPS_OPEN for the pixels of the mouth, where the output has no landmarks."""


def full_reference(rows: pd.DataFrame, fps: float) -> tuple[dict[str, Doubles], Doubles]:
    """Measures (T,) of the rows of a stretch against the reference, by name; NaN where not known. The region (T,) of
    the feature that is furthest out of place."""
    shift = rows[["shift_x", "shift_y"]].to_numpy()
    far = np.fmax(t.jumps(shift, 0.2, 4.0), np.hypot(*shift.T) - TOLERANCE)
    marks = stacked(rows, "marks", len(NAMES))
    output = marks + geometry.between(stacked(rows, "output_marks", len(NAMES)) - marks)
    away = (output - marks) / (1 + t.running_median(rows["noise"].fillna(0).to_numpy(), 5)[:, None] / BLURRING)
    out = {
        "light": np.hypot(*rows[["tilt_x", "tilt_y"]].to_numpy().T),
        "misalignment": t.running_median(far, 3),
        "ghost": t.running_median(t.hold_last(rows["ghost_now"].to_numpy()), 5),
        "jitter": t.sustained(shift),
        "detail_lost": np.fmax(rows["detail_lost"], detail.lost(stacked(rows, "detail", 6), _around(rows, fps))),
    }
    out["ghost"] /= 1 + rows["noise"].fillna(0).to_numpy() / ECHOING
    out["lips"] = _lips(rows, output, marks, fps)
    out["expression"] = t.running_median(np.abs(_less_usual(away[:, 3:6])).max(1), 3)
    out["gaze"] = 100 * t.running_median(np.linalg.norm(_less_usual(away[:, 6:8]), axis=1), 3)
    out["pose"] = t.running_median(np.linalg.norm(_less_usual(away[:, :3]), axis=1), 3)
    out["geometry"], region = geometry.out_of_place(_less_usual(away[:, FIRST:]))
    out["identity"] = _identity(rows)
    return out, region


def no_reference(rows: pd.DataFrame, fps: float, colours: Doubles, weight: Doubles) -> dict[str, Doubles]:
    """Measures (T,) of the rows of a stretch without a reference, by name; NaN where not known.

    `colours` (T, P, 3) CIELAB of the face's cells, `weight` (T, P) 1 for a cell that counts.
    """
    whole = (colours * weight[..., None]).sum(1) / np.maximum(weight.sum(1), 1)[:, None]
    jumps = []
    for seen in (whole, _middle_half(colours, weight)):
        seen[:, 0] -= 100 * 0.4 * rows["light_ring"].to_numpy()
        jumps.append(t.jumps(seen, 1.5))
    move = rows[["move_x", "move_y"]].to_numpy()
    ring = rows[["ring_x", "ring_y"]].to_numpy()
    fast = t.running_max(t.smoothed_speed(move))
    around = _around(rows, fps)
    lasting = 2 * round(LINE_SECONDS * fps / 2) + 1
    return {
        "unlike": match.unlike(stacked(rows, "texture", len(texture.NAMES)), fps),
        "light_jump": _relit(rows[["tilt_x", "tilt_y"]].to_numpy(), around),
        "colour_jump": (np.fmin(*jumps) - FAST_COLOUR * fast).clip(0),
        "detail_lost": detail.lost(stacked(rows, "detail", 6), around)
        - FAST_DETAIL * (fast - t.usual(fast, around) - FASTER).clip(0),
        "edge_line": outline.strongest(stacked(rows, "lines", outline.DEPTHS), around, lasting),
        "jitter": jitter(move, ring),
        "identity": _identity(rows),
    }


def _around(rows: pd.DataFrame, fps: float) -> int:
    """Frames of the median that is usual, an odd number."""
    return 2 * min(round(AROUND_SECONDS * fps / 2), len(rows)) + 1


def thrown(rows: pd.DataFrame) -> Doubles:
    """(T,) how far the face is out of its place for up to four frames, in units of AWAY; see `temporal.thrown`.

    Its place is the mean of its landmarks, less the movement of its surroundings and what is steady over LONGER frames.
    """
    if len(rows) < 3 or "across" not in rows:
        return np.full(len(rows), np.nan)
    across, ring = rows["across"].to_numpy(np.float64), rows[["ring_x", "ring_y"]].to_numpy(np.float64)
    steps = 100 * np.diff(rows[["place_x", "place_y"]].to_numpy(np.float64), axis=0) / across[1:, None]
    place = np.vstack([np.zeros((1, 2)), np.cumsum(np.nan_to_num(steps - np.nan_to_num(ring[1:])), axis=0)])
    place -= np.stack([t.running_median(values, LONGER) for values in place.T], axis=1)
    place[~np.isfinite(across)] = np.nan
    return t.thrown(place, UNSTEADY) / AWAY


def _middle_half(colours: Doubles, weight: Doubles) -> Doubles:
    """(T, 3) means of the middle half of (T, K, 3) colours where `weight` (T, K) is not 0, channel by channel.

    A hole is no part of it. NaN for a frame without weight.
    """
    ordered = np.sort(np.where((weight > 0)[..., None], colours, np.nan), axis=1)  # NaN last
    count, rank = (weight > 0).sum(1)[:, None], np.arange(weight.shape[1])
    inner = (rank >= count // 4) & (rank < count - count // 4)
    total = np.where(inner[..., None], ordered, 0).sum(1)
    return np.asarray(np.where(count > 0, total / np.maximum(inner.sum(1), 1)[:, None], np.nan))


def frozen(rows: pd.DataFrame, has_reference: bool) -> Doubles:
    """Per cent of the expected movement that is missing, per frame, or over a few frames if it is slow.

    With a reference its movement is expected, in the usual proportion; without one the face's own usual movement, as
    far as its surroundings move as much as usual. Their least movement is noise: that of frames that are repeated.
    """
    out = np.full(len(rows), np.nan)
    for moved, due in ((rows["moved_long"], rows["due_long"]), (rows["moved"], rows["due"])):
        if moved.notna().sum() < 5:
            continue
        if has_reference:
            wanted, least = due * min(median(moved / due.clip(lower=1e-3)), 1.0), FULL_REFERENCE_MOTION
        else:
            wanted, least = median(moved) * (due / max(median(due), 1e-3)).clip(upper=1), NO_REFERENCE_MOTION
        still = 100 * (1 - moved / wanted.clip(lower=1e-6))
        known = (wanted >= least).to_numpy() & moved.notna().to_numpy()
        out[known] = still.clip(lower=0).to_numpy()[known]
    return out if has_reference else t.running_median(out, 3)


def jitter(move: Doubles, ring: Doubles) -> Doubles:
    """(T,) how much more a face shakes than its surroundings, from movements (T, 2) from frame to frame, per cent of
    its width. A repeated frame has the value of the one before it; NaN where there are too few frames."""
    new = np.flatnonzero(~((np.hypot(*move.T) < STILL) & (np.hypot(*ring.T) < STILL)))
    out = np.full(len(move), np.nan)
    if len(new) >= SHAKEN:
        out[new] = t.running_median(_shaking(move[new]) - _shaking(ring[new]), SHAKEN)
        out = out[new[(np.searchsorted(new, np.arange(len(move)), "right") - 1).clip(0)]]
    return out


def _shaking(move: Doubles) -> Doubles:
    """(T,) distance by which a place shakes, from its movements (T, 2).

    Its fourth difference, in which a head that speeds up and brakes leaves next to nothing, divided by what it is for a
    place that is moved by chance by one unit in every frame.
    """
    out = np.full(len(move), np.nan)
    if len(move) >= 4:
        out[1:-2] = np.linalg.norm(np.diff(move, 3, axis=0), axis=1) / 70**0.5
    return out


def _relit(tilt: Doubles, around: int) -> Doubles:
    """(T,) distance of the brightness's slope (T, 2) across the face from its usual one: in full as far as it came
    about by jumps, else SLOWLY."""
    steady = np.column_stack([t.running_median(values, 5) for values in tilt.T])
    usual = np.column_stack([t.usual(values, around) for values in steady.T])
    return np.asarray(np.fmax(t.jumps(steady, 2.0, 3.0), SLOWLY * np.linalg.norm(steady - usual, axis=1)))


def _less_usual(values: Doubles) -> Doubles:
    """(T, C) values minus their median over the frames; NaN where nothing is known."""
    known = np.isfinite(values).all(1)
    return values - (np.median(values[known], axis=0) if known.any() else np.nan)


def _lips(rows: pd.DataFrame, output: Doubles, marks: Doubles, fps: float) -> Doubles:
    """(T,) lag in frames between the mouths: by landmarks where those of the output are known, else by their pixels."""
    known = np.isfinite(output[:, 3]) & np.isfinite(marks[:, 3])
    if known.mean() > 0.9:
        filled = [pd.DataFrame(v[:, 3:5]).interpolate(limit_direction="both").to_numpy() for v in (output, marks)]
        return t.lag(filled[0], filled[1], fps, LIPS_OPEN)
    mine, theirs = stacked(rows, "mouth", 0), stacked(rows, "reference_mouth", 0)
    if not mine.size or not np.isfinite(mine).all():
        return np.full(len(rows), np.nan)
    size = SCALE * mine.shape[1] ** 0.5
    return t.lag(mine / size, theirs / size, fps, LIPS_MOVE)


def _identity(rows: pd.DataFrame) -> Doubles:
    """(T,) distance of the face's embedding from the usual one; between two readings the smaller of both.

    So a face has to look like someone else twice in a row. NaN where there is no reading.
    """
    vectors, out = stacked(rows, "identity_vector", 0), np.full(len(rows), np.nan)
    known = np.flatnonzero(np.isfinite(vectors).all(1)) if vectors.size else np.empty(0, np.int64)
    if not len(known):
        return out
    far = np.linalg.norm(_less_usual(vectors), axis=1)[known]
    both = np.minimum(far[1:], far[:-1]) if len(far) > 1 else far
    for i, value in enumerate(both):
        span = slice(known[i], known[min(i + 1, len(known) - 1)] + 1)
        out[span] = np.fmax(out[span], value)
    return out


def stacked(rows: pd.DataFrame, name: str, width: int) -> Doubles:
    """(T, width) array from a column of arrays, NaN where one is missing; no columns for `width` 0 if all are."""
    values = list(rows[name])
    width = width or next((len(v) for v in values if v is not None), 0)
    out = np.full((len(values), width), np.nan)
    for i, value in enumerate(values):
        if value is not None:
            out[i] = value
    return out


def median(values: pd.Series) -> float:
    """Median of the known values; 0 if there are none."""
    return float(values.median()) if values.notna().any() else 0.0
