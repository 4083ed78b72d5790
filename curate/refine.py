"""What only the whole footage can say about the subject: pose zero, neutral expression, light from the albedo.

Works on the rows of the table and the skin colours of the parts; needs neither footage nor crops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import albedo, expression, lighting, occlusion, pose, quality
from curate.mesh import BLENDSHAPES
from curate.table import QUALITY, scalar_name
from curate.types import Floats

log = logging.getLogger(__name__)

ALBEDO_FRAMES = 400
"""Faces, spread evenly over the footage, from which the albedo is read."""
LIGHT = ["light_x", "light_y", "light_z"]
VISIBLE = "FaceOcclusionPrevention"
FROM_ALBEDO, FROM_ONE_FRAME = "albedo", "one light"
Skins = Callable[[], Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]]
"""Streams the skin colours part by part: positions of rows in the table (n,), colours (n, T, 3)."""


def refine(rows: pd.DataFrame, distances: Floats, skins: Skins) -> pd.DataFrame:
    """The table with its raw scores made the subject's own; `rows` in their final order, with `kept`.

    `distances` (N, K) mesh distances, NaN where there are none. Faces that are not the subject's keep their raw pose
    and light and lose their expression: it has no meaning without a neutral of their own.
    """
    rows = rows.copy()
    kept = rows["kept"].to_numpy(bool)
    raw_pose = rows[["yaw", "pitch", "roll"]].to_numpy(np.float64)
    _expression(rows, kept, raw_pose, distances)
    _light(rows, kept, raw_pose, skins)
    _pose(rows, kept)
    for column in QUALITY:
        rows[scalar_name(column.name)] = quality.scalar(column.name, rows[column.name].to_numpy(np.float64))
    return rows


def _pose(rows: pd.DataFrame, kept: NDArray[np.bool_]) -> None:
    seen = kept & rows["pitch"].notna().to_numpy()
    if not seen.any():
        return
    ours = rows.loc[seen, ["pitch", "yaw", "pose_confidence"]].to_numpy(np.float64)
    pitch = rows["pitch"].to_numpy(np.float32).copy()
    pitch[kept] -= np.float32(pose.zero(*ours.T))
    rows["pitch"] = pitch


def _expression(rows: pd.DataFrame, kept: NDArray[np.bool_], raw_pose: NDArray[np.float64], distances: Floats) -> None:
    shapes, gaze = stacked(rows["expression"], len(BLENDSHAPES)), stacked(rows["gaze"], 2)
    rows["expression"] = rows["gaze"] = None
    for name in expression.AXES:
        rows[name] = np.float32(np.nan)
    known = kept & np.isfinite(shapes).all(1) & np.isfinite(raw_pose).all(1)
    if not known.any():
        return
    ours = shapes[known], gaze[known], distances[known], raw_pose[known]
    found = expression.apply(expression.neutral_of(*ours), *ours)
    rows["expression"] = _objects(found.shapes, known)
    rows["gaze"] = _objects(found.gaze, known)
    for name, values in found.axes.items():
        rows.loc[known, name] = values.astype(np.float32)


def _light(rows: pd.DataFrame, kept: NDArray[np.bool_], raw_pose: NDArray[np.float64], skins: Skins) -> None:
    """Light and occlusion from the subject's own skin where there are frames enough; else the single frame's stay."""
    rows["light_from"] = [FROM_ONE_FRAME if known else None for known in rows["light_x"].notna()]
    usable = kept & np.isfinite(raw_pose).all(1)
    at = np.flatnonzero(usable)
    sample = at[np.unique(np.linspace(0, len(at) - 1, min(len(at), ALBEDO_FRAMES)).astype(int))] if len(at) else at
    upright = pose.matrix(raw_pose[:, 0], raw_pose[:, 1], 0.0)
    places, colours = _gather(skins, sample)
    fitted = albedo.fit(colours, upright[places]) if len(places) else None
    if fitted is None:
        log.info("too few faces for the subject's albedo: light is read from single frames")
        return
    usual = occlusion.usual(colours, albedo.read(fitted, colours, upright[places]).shading)
    light = stacked(rows["lighting"], 6)
    direction = rows[LIGHT].to_numpy(np.float32).copy()
    visible = rows[VISIBLE].to_numpy(np.float32).copy()
    method = rows["light_from"].to_numpy(object)
    for where, seen in skins():
        ours = where[usable[where]]
        seen = seen[usable[where]]
        found = albedo.read(fitted, seen, upright[ours])
        visible[ours] = occlusion.against_usual(seen, found.shading, usual)
        read = np.isfinite(found.direction).all(1)
        # found in the upright crop's axes, turned by the roll into the frame's
        turned = np.einsum("nij,nj->ni", pose.matrix(0.0, 0.0, raw_pose[ours, 2]), found.direction)
        scalars = np.column_stack([found.exposure, found.warmth, found.tint])
        direction[ours[read]] = turned[read]
        light[ours[read]] = np.hstack([turned * found.contrast[:, None], scalars])[read]
        method[ours[read]] = FROM_ALBEDO
    rows[LIGHT], rows["lighting"] = direction, _objects(light, np.all(np.isfinite(light), axis=1))
    rows[VISIBLE], rows["light_from"] = visible, method


def _gather(skins: Skins, sample: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Those of the rows at `sample` that have skin colours, in order of the table, and the colours."""
    pieces, places = [np.zeros((0, len(lighting.skin()[0]), 3), np.uint8)], [np.zeros(0, np.intp)]
    for where, colours in skins():
        inside = np.isin(where, sample)
        pieces.append(colours[inside])
        places.append(where[inside])
    joined = np.concatenate(places)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(pieces)[order]


def stacked(column: pd.Series[Any], size: int) -> Floats:
    """(N, size) float32 out of a column of vectors; NaN where null."""
    out = np.full((len(column), size), np.nan, np.float32)
    for i, value in enumerate(column):
        if value is not None and np.ndim(value) == 1:
            out[i] = value
    return out


def _objects(values: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.object_]:
    """(N,) vectors as a column, None where not known; `values` of all rows, or of the known ones."""
    out = np.full(len(known), None, object)
    rows = values[known] if len(values) == len(known) else values
    for i, value in zip(np.flatnonzero(known), rows.astype(np.float32), strict=True):
        out[i] = value
    return out
