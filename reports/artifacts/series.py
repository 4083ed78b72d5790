"""From the figures of each frame to the measures of each frame: what needs the frames around, or the whole video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.footage.shots import Cuts, Difference
from reports.artifacts import temporal as t
from reports.artifacts.kinds import SWAP
from reports.artifacts.landmarks import NAMES
from reports.artifacts.patch import EDGE, GRID, REGIONS, WHOLE
from reports.artifacts.series_measures import FAST_LIGHT, SCALE, alone, beside, frozen, median, softness, stacked

Doubles = NDArray[np.float64]


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
    """The measures of `rows` (see `reports.artifacts.parts.table`) in order of time."""
    out: dict[str, Doubles] = {}
    regions: dict[str, NDArray[np.int64]] = {}
    pose = np.full((len(rows), 2), np.nan)
    usual = _usual(rows, has_reference)
    for stretch in stretches(rows):
        mine = rows.iloc[stretch]
        found, where = _stretch(mine, fps, has_reference, usual)
        for name, values in found.items():
            out.setdefault(name, np.full(len(rows), np.nan))[stretch] = values
        for name, values in where.items():
            regions.setdefault(name, np.full(len(rows), WHOLE, np.int64))[stretch] = values
        pose[stretch] = stacked(mine, "marks", len(NAMES))[:, :2]
    if has_reference and "difference" in out:
        out["missed"] = missed(rows["difference"]).to_numpy(np.float64)
    return Series(pd.DataFrame(out, index=rows.index), pd.DataFrame(regions, index=rows.index), pose)


def stretches(rows: pd.DataFrame) -> Iterator[NDArray[np.intp]]:
    """Positions of the frames with a face between which there is neither a cut nor a frame without one."""
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


def _usual(rows: pd.DataFrame, has_reference: bool) -> dict[str, tuple[float, float]]:
    """Levels of the whole video that single frames are compared with, and how far the sharpest tenth is from them."""
    if has_reference:
        return {}
    found = {}
    for name, values in softness(rows).items():
        level = median(values)
        found[name] = (level, level - float(values.quantile(0.1)) if values.notna().any() else 0.0)
    return found


def _stretch(
    rows: pd.DataFrame, fps: float, has_reference: bool, usual: dict[str, tuple[float, float]]
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    colours = stacked(rows, "cells", GRID * GRID * 3).reshape(len(rows), GRID * GRID, 3) / SCALE
    weight = (stacked(rows, "weight", GRID * GRID) >= 90).astype(np.float64)
    region = stacked(rows, "regions", GRID * GRID).astype(int)
    light = (rows["light"] - rows["light_ring"]).to_numpy()
    out: dict[str, Doubles] = {"frozen": frozen(rows, has_reference)}
    out["checkerboard"] = t.middle(t.held(rows["checkerboard_now"].to_numpy()), 3)
    where: dict[str, Doubles] = {}
    apart = np.full((len(rows), GRID, GRID), np.nan)
    if has_reference:
        other = stacked(rows, "reference_cells", GRID * GRID * 3).reshape(colours.shape) / SCALE
        colours = colours - other
        apart = stacked(rows, "apart", GRID * GRID).reshape(apart.shape) / SCALE
        out |= beside(rows, fps)
        cell = rows["colour_cell"].fillna(-1).to_numpy().astype(int)
        where["colour"] = np.where(cell >= 0, region[np.arange(len(rows)), np.maximum(cell, 0)], WHOLE)
        where["light"] = _darker_side(rows)
    else:
        out |= alone(rows, fps, colours, weight, usual)
    out["flicker"] = 100 * t.sustained(light)
    if not has_reference:
        move = t.fastest(t.speed(rows[["move_x", "move_y"]].to_numpy()))
        own = 100 * t.sustained(rows["light"].to_numpy())
        out["flicker"] = (np.fmin(out["flicker"], own) - FAST_LIGHT * move).clip(0)
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


def missed(difference: pd.Series) -> pd.Series:
    """Per cent of a swap's usual difference from the reference that each frame lacks; NaN if this is no swap."""
    usual = float(difference.median()) if difference.notna().any() else 0.0
    if usual < SWAP:
        return pd.Series(np.nan, index=difference.index)
    return (100 * (1 - difference / usual)).clip(lower=0)
