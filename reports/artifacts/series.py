"""Measures of a whole video from the numbers of its frames, stretch by stretch between cuts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.footage.shots import Cuts, Difference
from reports.artifacts import geometry, look
from reports.artifacts import temporal as t
from reports.artifacts.kinds import SWAP, limits
from reports.artifacts.landmarks import NAMES, SHAPE
from reports.artifacts.parts import SCALE
from reports.artifacts.patch import GRID, REGIONS, WHOLE
from reports.artifacts.series_measures import (
    FAST_LIGHT,
    frozen,
    full_reference,
    no_reference,
    stacked,
    thrown,
)

Doubles = NDArray[np.float64]
CODED = 1.5
"""Multiples of the flicker of the ring against the reference that do not count in the face."""


@dataclass(frozen=True, eq=False)
class Series:
    """Measures of the frames of a video."""

    measures: pd.DataFrame
    """A row per frame, a column per measure; NaN: not known."""
    regions: pd.DataFrame
    """A row per frame, a column per measure that knows its place: index into REGIONS."""
    pose: Doubles
    """(T, 2) yaw and pitch in degrees; NaN: not known."""


def series(rows: pd.DataFrame, fps: float, has_reference: bool) -> Series:
    """Measures of `rows` (see `parts.table`) in order of time."""
    out: dict[str, Doubles] = {}
    regions: dict[str, NDArray[np.int64]] = {}
    pose = np.full((len(rows), 2), np.nan)
    marks = stacked(rows, "marks", len(NAMES))
    shape = np.full((len(rows), len(SHAPE)), np.nan) if has_reference else geometry.unusual(marks)
    looks = None if has_reference else look.slipped(list(rows["features"]), marks[:, :2])
    for stretch in stretches(rows):
        mine = rows.iloc[stretch]
        found, where = _stretch(mine, fps, has_reference)
        if looks is not None:
            size, place = geometry.out_of_place(shape[stretch], geometry.ALONE)
            known = geometry.trusted(marks[stretch], size)
            both, where["geometry"] = geometry.with_look(size, place, *(each[stretch] for each in looks))
            found["geometry"] = np.where(known, both, np.nan)
            found["light_jump"] = np.where(known | ~np.isfinite(size), found["light_jump"], np.nan)
        for name, values in found.items():
            out.setdefault(name, np.full(len(rows), np.nan))[stretch] = values
        for name, values in where.items():
            regions.setdefault(name, np.full(len(rows), WHOLE, np.int64))[stretch] = values
        pose[stretch] = marks[stretch, :2]
    if has_reference:
        out["missed"] = missed(rows["difference"]).to_numpy(np.float64)
    return Series(pd.DataFrame(out, index=rows.index), pd.DataFrame(regions, index=rows.index), pose)


def stretches(rows: pd.DataFrame) -> Iterator[NDArray[np.intp]]:
    """Positions of consecutive frames with a face, without a cut in between."""
    face = rows["x"].notna().to_numpy()
    new = _cuts(rows)
    new[1:] |= face[1:] != face[:-1]
    for run in np.split(np.arange(len(rows)), np.flatnonzero(new)):
        if len(run) and face[run[0]]:
            yield run


def _cuts(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """(T,) where a new shot begins, from the stored differences; flashes count as well."""
    out = np.zeros(len(rows), bool)
    cuts = Cuts(flashes=True)
    for i, now in enumerate(zip(rows["change"].astype(float), rows["likeness"].astype(float), strict=True)):
        out[i] = np.isfinite(now[0]) and cuts.cut(Difference(*now))
    return out


def _stretch(rows: pd.DataFrame, fps: float, has_reference: bool) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    grid, cells = (len(rows), GRID, GRID), (len(rows), GRID * GRID, 3)
    colours = stacked(rows, "cells", GRID * GRID * 3).reshape(cells) / SCALE
    weight = (stacked(rows, "weight", GRID * GRID) >= 90).astype(np.float64)
    region = stacked(rows, "regions", GRID * GRID).astype(int)
    apart = np.full(grid, np.nan)
    where: dict[str, Doubles] = {}
    out: dict[str, Doubles] = {"frozen": frozen(rows, has_reference)}
    out["checkerboard"] = t.running_median(t.hold_last(rows["checkerboard_now"].to_numpy()), 3)
    out["flicker"] = _flicker(rows, has_reference)
    if has_reference:
        colours = colours - stacked(rows, "reference_cells", GRID * GRID * 3).reshape(cells) / SCALE
        apart = stacked(rows, "apart", GRID * GRID).reshape(grid) / SCALE
        found, feature = full_reference(rows, fps)
        out |= found
        where |= {"colour": _worst_cell(rows, region), "light": _darker_side(rows), "geometry": feature}
    else:
        out |= no_reference(rows, fps, colours, weight)
    where["flicker"] = _most_flickering(colours, weight, region)
    out["popped"] = t.popped(colours, weight)
    if not has_reference:
        out["popped"] = np.fmax(out["popped"], thrown(rows))
        colours = t.cell_jumps(colours, 6.0, 5.0)
    out["hole"], first = t.hole(colours.reshape(*grid, 3), apart, weight.reshape(grid), 0.6 * SWAP)
    row, column = first // (GRID - 1), first % (GRID - 1)
    where["hole"] = region.reshape(grid)[np.arange(len(rows)), row, column].astype(np.float64)
    measured = [limit.measure for _, limit in limits(has_reference)]
    return {n: rows[n].to_numpy() for n in measured if n in rows} | out, where


def _flicker(rows: pd.DataFrame, has_reference: bool) -> Doubles:
    relative = 100 * t.sustained((rows["light"] - rows["light_ring"]).to_numpy())
    if has_reference:  # an encoder changes the ring's brightness as much as the face's
        around = CODED * 100 * t.sustained(rows["light_ring"].to_numpy())
        return np.asarray((relative - around - rows["unsteady"].fillna(0).to_numpy()).clip(0))
    move = t.running_max(t.smoothed_speed(rows[["move_x", "move_y"]].to_numpy()))
    absolute = 100 * t.sustained(rows["light"].to_numpy())
    return np.asarray((np.fmin(relative, absolute) - FAST_LIGHT * move).clip(0))


def _worst_cell(rows: pd.DataFrame, region: NDArray[np.int64]) -> Doubles:
    """(T,) region of the cell whose colour differs most; WHOLE where it is not known."""
    cell = rows["colour_cell"].fillna(-1).to_numpy().astype(int)
    return np.where(cell >= 0, region[np.arange(len(rows)), np.maximum(cell, 0)], WHOLE).astype(np.float64)


def _darker_side(rows: pd.DataFrame) -> Doubles:
    """(T,) region in which the output is too dark: a cheek, the forehead or the chin."""
    right, down = rows["tilt_x"].fillna(0).to_numpy(), rows["tilt_y"].fillna(0).to_numpy()
    names = np.where(
        np.abs(right) >= np.abs(down),
        np.where(right > 0, REGIONS.index("right cheek"), REGIONS.index("left cheek")),
        np.where(down > 0, REGIONS.index("forehead"), REGIONS.index("jaw/chin")),
    )
    return names.astype(np.float64)


def _most_flickering(colours: Doubles, weight: Doubles, region: NDArray[np.intp]) -> Doubles:
    """(T,) region in which lightness flickers most; WHOLE where it flickers everywhere alike."""
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


def missed(difference: pd.Series) -> pd.Series:
    """Per cent of the swap's usual difference from the reference that a frame lacks; NaN if the video is no swap."""
    usual = float(difference.median()) if difference.notna().any() else 0.0
    if usual < SWAP:
        return pd.Series(np.nan, index=difference.index)
    return (100 * (1 - difference / usual)).clip(lower=0)
