"""From the figures of each frame to the measures of each frame: what needs the frames around, or the whole video."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import shots
from reports import measure_time as t
from reports.measure_edge import INNER, OUTER, PLACES
from reports.measure_marks import NAMES
from reports.patch import EDGE, GRID, REGIONS, WHOLE
from reports.thresholds import ALONE_MOTION, MOTION, SWAP

Doubles = NDArray[np.float64]
SCALE = 100
TOLERANCE = 1.5
"""Per cent of the face's width: another face's features may lie so far from the reference's all the time."""
ALL_THE_TIME = 3.0
"""Without a reference a line that is there all the time must be so many times stronger than one that comes and goes."""
SLOWLY = 0.3
"""Octaves by which a face's detail changes as the head turns and comes nearer."""
LIPS_MOVE = 0.8
"""L* levels: a mouth that moves less says nothing about the lag of the lips."""


@dataclass(frozen=True, eq=False)
class Series:
    """The measures of a video's frames."""

    measures: pd.DataFrame
    """A row per frame, a column per measure; NaN: not known."""
    regions: pd.DataFrame
    """A row per frame, a column per measure that tells a place: index into REGIONS."""
    pose: Doubles
    """(T, 2) yaw and pitch in degrees; NaN: not known."""


def series(rows: pd.DataFrame, fps: float, has_reference: bool) -> Series:
    """The measures of `rows` (see `reports.parts.table`) in order of time."""
    out = pd.DataFrame(index=rows.index)
    regions = pd.DataFrame(index=rows.index)
    pose = np.full((len(rows), 2), np.nan)
    usual = _usual(rows, has_reference)
    for stretch in stretches(rows):
        mine = rows.iloc[stretch]
        found, where = _stretch(mine, fps, has_reference, usual)
        for name, values in found.items():
            if name not in out:
                out[name] = np.nan
            out.iloc[stretch, out.columns.get_loc(name)] = values
        for name, values in where.items():
            if name not in regions:
                regions[name] = WHOLE
            regions.iloc[stretch, regions.columns.get_loc(name)] = values
        pose[stretch] = _stacked(mine, "marks", len(NAMES))[:, :2]
    if has_reference and "difference" in out:
        out["missed"] = missed(rows["difference"])
    return Series(out, regions, pose)


def stretches(rows: pd.DataFrame) -> Iterator[NDArray[np.intp]]:
    """Positions of the frames with a face between which there is neither a cut nor a frame without one."""
    face = rows["x"].notna().to_numpy()
    new = _cuts(rows)
    new[1:] |= face[1:] != face[:-1]
    for run in np.split(np.arange(len(rows)), np.flatnonzero(new)):
        if len(run) and face[run[0]]:
            yield run


def _cuts(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Where a new shot begins: `curate.shots.Shots` on the changes that were stored."""
    out = np.zeros(len(rows), bool)
    memory: deque[float] = deque(maxlen=shots.MEMORY)
    for i, (change, like) in enumerate(zip(rows["change"].to_numpy(), rows["likeness"].to_numpy(), strict=True)):
        if not np.isfinite(change):
            continue
        usual = max(float(np.mean(memory)) if memory else 0.0, shots.QUIET)
        out[i] = change >= min(shots.ALWAYS, max(shots.LEAST, shots.TIMES * usual)) and like < shots.SIMILAR
        if not out[i]:
            memory.append(float(change))
    return out


def _usual(rows: pd.DataFrame, has_reference: bool) -> dict[str, float]:
    """Levels of the whole video that single frames are compared with."""
    if has_reference:
        return {}
    return {name: _median(values) for name, values in _softness(rows).items()}


def _median(values: pd.Series) -> float:
    return float(values.median()) if values.notna().any() else 0.0


def _softness(rows: pd.DataFrame) -> dict[str, pd.Series]:
    fine, mid, ring = (np.log2(rows[name] + 0.3) for name in ("fine", "middle", "fine_ring"))
    return {"slope": mid - fine, "below_ring": ring - fine}


def _stretch(
    rows: pd.DataFrame, fps: float, has_reference: bool, usual: dict[str, float]
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    colours = _stacked(rows, "cells", GRID * GRID * 3).reshape(len(rows), GRID * GRID, 3) / SCALE
    weight = (_stacked(rows, "weight", GRID * GRID) >= 90).astype(np.float64)
    region = _stacked(rows, "regions", GRID * GRID).astype(int)
    light = (rows["light"] - rows["light_ring"]).to_numpy()
    out: dict[str, Doubles] = {"frozen": _frozen(rows, has_reference)}
    out["checkerboard"] = t.middle(rows["checkerboard_now"].to_numpy(), 3)
    where: dict[str, Doubles] = {}
    apart = np.full((len(rows), GRID, GRID), np.nan)
    if has_reference:
        other = _stacked(rows, "reference_cells", GRID * GRID * 3).reshape(colours.shape) / SCALE
        colours = colours - other
        apart = _stacked(rows, "apart", GRID * GRID).reshape(apart.shape) / SCALE
        out |= _beside(rows, fps)
        cell = rows["colour_cell"].fillna(-1).to_numpy().astype(int)
        where["colour"] = np.where(cell >= 0, region[np.arange(len(rows)), np.maximum(cell, 0)], WHOLE)
        where["light"] = _darker_side(rows)
    else:
        out |= _alone(rows, colours, weight, usual)
    out["flicker"] = 100 * t.sustained(light)
    where["flicker"] = _largest(colours, weight, region)
    where["edge" if has_reference else "edge_line"] = np.full(len(rows), float(EDGE))
    out["popped"] = t.popped(colours, weight)
    box = (len(rows), GRID, GRID)
    if not has_reference:
        colours = t.cell_jumps(colours, 6.0, 5.0)
    out["hole"], first = t.hole(colours.reshape(*box, 3), apart, weight.reshape(box), 0.6 * SWAP)
    row, column = first // (GRID - 1), first % (GRID - 1)
    where["hole"] = region.reshape(box)[np.arange(len(rows)), row, column].astype(np.float64)
    where["lips"] = np.full(len(rows), float(REGIONS.index("mouth")))
    return out, where


def _beside(rows: pd.DataFrame, fps: float) -> dict[str, Doubles]:
    shift = rows[["shift_x", "shift_y"]].to_numpy()
    far = np.fmax(t.jumps(shift, 0.1, 3.0), np.hypot(*shift.T) - TOLERANCE)
    marks, output = _stacked(rows, "marks", len(NAMES)), _stacked(rows, "output_marks", len(NAMES))
    away = output - marks
    out = {
        "edge": rows["edge"].to_numpy(),
        "colour": rows["colour"].to_numpy(),
        "light": np.hypot(rows["tilt_x"], rows["tilt_y"]).to_numpy(),
        "detail_lost": rows["detail_lost"].to_numpy(),
        "false_detail": rows["false_detail"].to_numpy(),
        "misalignment": t.middle(far, 3),
        "ghost": t.middle(rows["ghost_now"].to_numpy(), 5),
        "jitter": t.sustained(shift),
        "difference": rows["difference"].to_numpy(),
    }
    out["lips"] = _lips(rows, output, marks, fps)
    out["expression"] = t.middle(np.abs(_less_usual(away[:, 3:6])).max(1), 3)
    out["gaze"] = 100 * t.middle(np.linalg.norm(_less_usual(away[:, 6:8]), axis=1), 3)
    out["pose"] = t.middle(np.linalg.norm(_less_usual(away[:, :3]), axis=1), 3)
    out["identity"] = _identity(rows)
    return out


def _alone(rows: pd.DataFrame, colours: Doubles, weight: Doubles, usual: dict[str, float]) -> dict[str, Doubles]:
    soft = _softness(rows)
    total = weight.sum(1)
    mean = (colours * weight[..., None]).sum(1) / np.maximum(total, 1)[:, None]
    mean[:, 0] -= 100 * 0.4 * rows["light_ring"].to_numpy()
    move = rows[["move_x", "move_y"]].to_numpy()
    ring = rows[["ring_x", "ring_y"]].to_numpy()
    return {
        "colour_jump": t.jumps(mean, 1.5),
        "detail_lost": _softer(np.column_stack([soft[n] - usual[n] for n in ("slope", "below_ring")])),
        "edge_line": t.middle(_lines(rows), 3),
        "jitter": t.middle(_shaking(move) - _shaking(ring), 5).clip(0),
        "identity": _identity(rows),
    }


def _softer(octaves: Doubles) -> Doubles:
    """(T,) octaves of detail that went abruptly, or are less by more than SLOWLY; (T, 2) of what is lost by itself and
    beside the surroundings."""
    lost = octaves.min(1)
    return np.where(lost > 0, np.fmax(t.jumps(octaves, 0.05), lost - SLOWLY), 0.0)


def _frozen(rows: pd.DataFrame, has_reference: bool) -> Doubles:
    """Per cent of the movement that should be there and is not; from one frame to the next, or over a few if slow.

    Beside a reference its movement is due, in the proportion that is usual; without one the face's own usual one, as
    far as its surroundings move as they usually do.
    """
    out = np.full(len(rows), np.nan)
    for moved, due in ((rows["moved_long"], rows["due_long"]), (rows["moved"], rows["due"])):
        if moved.notna().sum() < 5:
            continue
        if has_reference:
            wanted, least = due * min(_median(moved / due.clip(lower=1e-3)), 1.0), MOTION
        else:
            wanted, least = _median(moved) * (due / max(_median(due), 1e-3)).clip(upper=1), ALONE_MOTION
        still = 100 * (1 - moved / wanted.clip(lower=1e-6))
        known = (wanted >= least).to_numpy() & moved.notna().to_numpy()
        out[known] = still.clip(lower=0).to_numpy()[known]
    return out


def _lines(rows: pd.DataFrame) -> Doubles:
    """(T,) how many times the usual step at the same place the sharpest along the outline is, or a part of how many
    times the steps beside it inside the face, whichever is more."""
    steps = _stacked(rows, "lines", PLACES)
    if not np.isfinite(steps).any():
        return np.full(len(rows), np.nan)
    inner = round(PLACES * (OUTER + 0.03) / (OUTER + INNER))
    beside = (np.roll(steps, 3, axis=1) + np.roll(steps, -3, axis=1)) / 2
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        over_usual = np.nanmax((steps - np.nanmedian(steps, axis=0))[:, inner:], axis=1)
        over_others = np.nanmax((steps - beside)[:, inner:-3], axis=1)
    return np.fmax(np.exp(over_usual), np.exp(over_others) / ALL_THE_TIME)


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
    mine, theirs = _stacked(rows, "mouth", 0), _stacked(rows, "reference_mouth", 0)
    if not mine.size:
        return np.full(len(rows), np.nan)
    found, sure = t.lag(mine / SCALE, theirs / SCALE, fps, LIPS_MOVE)
    lag = pd.Series(np.abs(found) * sure)
    return lag.ffill(limit=round(0.5 * fps)).to_numpy()


def _identity(rows: pd.DataFrame) -> Doubles:
    vectors = _stacked(rows, "identity_vector", 0)
    if not vectors.size:
        return np.full(len(rows), np.nan)
    return np.linalg.norm(_less_usual(vectors), axis=1)


def _darker_side(rows: pd.DataFrame) -> Doubles:
    """Where the output is too dark: the cheek, the forehead or the chin away from its extra light."""
    right, down = rows["tilt_x"].fillna(0).to_numpy(), rows["tilt_y"].fillna(0).to_numpy()
    names = np.where(
        np.abs(right) >= np.abs(down),
        np.where(right > 0, REGIONS.index("right cheek"), REGIONS.index("left cheek")),
        np.where(down > 0, REGIONS.index("forehead"), REGIONS.index("jaw/chin")),
    )
    return names.astype(np.float64)


def _largest(colours: Doubles, weight: Doubles, region: NDArray[np.intp]) -> Doubles:
    """(T,) region in which lightness bends most from frame to frame; WHOLE where it bends everywhere alike."""
    out = np.full(len(colours), float(WHOLE))
    if len(colours) < 3:
        return out
    light = colours[..., 0]
    size = np.abs(light[1:-1] - (light[:-2] + light[2:]) / 2) * weight[1:-1]
    for i, (values, face, names) in enumerate(zip(size, weight[1:-1], region[1:-1], strict=True), 1):
        if face.sum() < 8:
            continue
        means = np.array([values[(names == r) & (face > 0)].mean() if ((names == r) & (face > 0)).any() else 0.0
                          for r in range(len(REGIONS))])  # fmt: skip
        if means.max() > 2 * values[face > 0].mean():
            out[i] = means.argmax()
    return out


def _stacked(rows: pd.DataFrame, name: str, width: int) -> Doubles:
    """(T, width) of a column of arrays; NaN rows where there is none; no columns for `width` 0 without any array."""
    values = list(rows[name])
    width = width or next((len(v) for v in values if v is not None), 0)
    out = np.full((len(values), width), np.nan)
    for i, value in enumerate(values):
        if value is not None:
            out[i] = value
    return out


def missed(difference: pd.Series) -> pd.Series:
    """Per cent of a swap's usual difference from the reference that each frame lacks; NaN if this is no swap."""
    usual = float(difference.median()) if difference.notna().any() else 0.0
    if usual < SWAP:
        return pd.Series(np.nan, index=difference.index)
    return (100 * (1 - difference / usual)).clip(lower=0)
