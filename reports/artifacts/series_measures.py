"""Measures of one stretch of frames, from the figures of each frame: beside a reference, and alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.artifacts import temporal as t
from reports.artifacts.kinds import ALONE_MOTION, MOTION
from reports.artifacts.landmarks import NAMES

Doubles = t.Doubles
LIPS_OPEN = 0.15
"""cm of an average head: where opening and width of the mouth change less in a tenth of a second, a lag is not seen."""
SCALE = 100
"""Colours of cells are kept as whole hundredths."""
TOLERANCE = 1.5
"""Per cent of the face's width: another face's features may lie so far from the reference's all the time."""
SLOWLY = 1.0
"""Octaves by which a face's detail changes as the head turns and comes nearer."""
SPREAD = 1.0
"""Detail is lost only beyond so many times what the video's sharpest tenth has more of it than usual."""
LINE_SECONDS = 5.0
"""The edge of a paste stays; a line without a reference is looked at over this time."""
FAST_SHAKING, FAST_LIGHT, FAST_COLOUR = 0.5, 0.5, 2.0
"""Fast movement blurs and misleads: by so much trembling (per cent of the face's width), flicker (per cent) and colour
(CIELAB) for each per cent of its width that the face moves a frame a measure without reference is less."""
LIPS_MOVE = 1.5
"""L* levels: the same for the picture of the mouth, where there are no landmarks of the output."""


def beside(rows: pd.DataFrame, fps: float) -> dict[str, Doubles]:
    """Measures (T,) of a stretch's rows beside the reference, by their columns' names; NaN where not known."""
    shift = rows[["shift_x", "shift_y"]].to_numpy()
    far = np.fmax(t.jumps(shift, 0.2, 4.0), np.hypot(*shift.T) - TOLERANCE)
    marks, output = stacked(rows, "marks", len(NAMES)), stacked(rows, "output_marks", len(NAMES))
    away = output - marks
    out = {
        "edge": rows["edge"].to_numpy(),
        "colour": rows["colour"].to_numpy(),
        "light": np.hypot(*rows[["tilt_x", "tilt_y"]].to_numpy().T),
        "detail_lost": rows["detail_lost"].to_numpy(),
        "false_detail": rows["false_detail"].to_numpy(),
        "misalignment": t.middle(far, 3),
        "ghost": t.middle(t.held(rows["ghost_now"].to_numpy()), 5),
        "jitter": t.sustained(shift),
        "difference": rows["difference"].to_numpy(),
    }
    out["lips"] = _lips(rows, output, marks, fps)
    out["expression"] = t.middle(np.abs(_less_usual(away[:, 3:6])).max(1), 3)
    out["gaze"] = 100 * t.middle(np.linalg.norm(_less_usual(away[:, 6:8]), axis=1), 3)
    out["pose"] = t.middle(np.linalg.norm(_less_usual(away[:, :3]), axis=1), 3)
    out["identity"] = _identity(rows)
    return out


def alone(
    rows: pd.DataFrame, fps: float, colours: Doubles, weight: Doubles, usual: dict[str, tuple[float, float]]
) -> dict[str, Doubles]:
    """Measures (T,) of a stretch's rows without a reference, by their columns' names; NaN where not known.

    `colours` (T, P, 3) CIELAB of the face's cells, `weight` (T, P) 1 for a cell that counts; `usual`: middle and spread
    of each measure of softness.
    """
    soft = softness(rows)
    whole = (colours * weight[..., None]).sum(1) / np.maximum(weight.sum(1), 1)[:, None]
    jumps = []
    for seen in (whole, _middle_half(colours, weight)):
        seen[:, 0] -= 100 * 0.4 * rows["light_ring"].to_numpy()
        jumps.append(t.jumps(seen, 1.5))
    move = rows[["move_x", "move_y"]].to_numpy()
    ring = rows[["ring_x", "ring_y"]].to_numpy()
    fast = t.fastest(t.speed(move))
    less = [soft[n] - usual[n][0] - SPREAD * usual[n][1] for n in ("slope", "below_ring")]
    window = 2 * (min(round(LINE_SECONDS * fps), len(rows)) // 2) + 1
    return {
        "colour_jump": (np.fmin(*jumps) - FAST_COLOUR * fast).clip(0),
        "detail_lost": _softer(np.column_stack(less)),
        "edge_line": t.middle(rows["line"].to_numpy(), window),
        "jitter": (t.middle(_shaking(move) - _shaking(ring), 5) - FAST_SHAKING * fast).clip(0),
        "identity": _identity(rows),
    }


def _middle_half(colours: Doubles, weight: Doubles) -> Doubles:
    """(T, 3) means of the middle half of (T, K, 3) colours where `weight` (T, K) is not 0, channel by channel.

    A hole is no part of it. NaN for a frame without weight.
    """
    ordered = np.sort(np.where((weight > 0)[..., None], colours, np.nan), axis=1)  # NaN last
    count, rank = (weight > 0).sum(1)[:, None], np.arange(weight.shape[1])
    inner = (rank >= count // 4) & (rank < count - count // 4)
    total = np.where(inner[..., None], ordered, 0).sum(1)
    return np.asarray(np.where(count > 0, total / np.maximum(inner.sum(1), 1)[:, None], np.nan))


def _softer(octaves: Doubles) -> Doubles:
    """(T,) octaves of detail that went abruptly, or are less by more than SLOWLY; (T, 2) of what is lost by itself and
    beside the surroundings."""
    lost = octaves.min(1)
    return np.asarray(np.where(lost > 0, np.fmax(t.jumps(octaves, 0.05), lost - SLOWLY), 0.0))


def frozen(rows: pd.DataFrame, has_reference: bool) -> Doubles:
    """Per cent of the movement that should be there and is not; from one frame to the next, or over a few if slow.

    Beside a reference its movement is due, in the proportion that is usual; without one the face's own usual one, as
    far as its surroundings move as they usually do.
    """
    out = np.full(len(rows), np.nan)
    for moved, due in ((rows["moved_long"], rows["due_long"]), (rows["moved"], rows["due"])):
        if moved.notna().sum() < 5:
            continue
        if has_reference:
            wanted, least = due * min(median(moved / due.clip(lower=1e-3)), 1.0), MOTION
        else:
            wanted, least = median(moved) * (due / max(median(due), 1e-3)).clip(upper=1), ALONE_MOTION
        still = 100 * (1 - moved / wanted.clip(lower=1e-6))
        known = (wanted >= least).to_numpy() & moved.notna().to_numpy()
        out[known] = still.clip(lower=0).to_numpy()[known]
    return out


def _shaking(move: Doubles) -> Doubles:
    """(T,) half the change of (T, 2) movements from one frame to the next."""
    out = np.full(len(move), np.nan)
    if len(move) >= 2:
        out[:-1] = np.linalg.norm(np.diff(move, axis=0), axis=1) / 2
    return out


def _less_usual(values: Doubles) -> Doubles:
    """(T, C) less their median over the frames; NaN where nothing is known."""
    known = np.isfinite(values).all(1)
    return values - (np.median(values[known], axis=0) if known.any() else np.nan)


def _lips(rows: pd.DataFrame, output: Doubles, marks: Doubles, fps: float) -> Doubles:
    """(T,) frames between the mouths' movements: by landmarks where the output's are known, else by their pictures."""
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
    vectors = stacked(rows, "identity_vector", 0)
    if not vectors.size:
        return np.full(len(rows), np.nan)
    return np.asarray(np.linalg.norm(_less_usual(vectors), axis=1))


def stacked(rows: pd.DataFrame, name: str, width: int) -> Doubles:
    """(T, width) of a column of arrays; NaN rows where there is none; no columns for `width` 0 without any array."""
    values = list(rows[name])
    width = width or next((len(v) for v in values if v is not None), 0)
    out = np.full((len(values), width), np.nan)
    for i, value in enumerate(values):
        if value is not None:
            out[i] = value
    return out


def median(values: pd.Series) -> float:
    """The median of what is known; 0 if nothing is."""
    return float(values.median()) if values.notna().any() else 0.0


def softness(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Octaves by which the face's fine detail is weaker than its middle one, and than the ring's fine one."""
    fine, mid, ring = (np.log2(rows[name] + 0.3) for name in ("fine", "middle", "fine_ring"))
    return {"slope": mid - fine, "below_ring": ring - fine}
