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
from curate.table import QUALITY, STATUS_OK, scalar_name
from curate.types import Floats

Doubles = NDArray[np.float64]

log = logging.getLogger(__name__)

ALBEDO_FRAMES = 240
"""Faces, spread evenly over the footage, from which the albedo is read."""
LIGHT = ["light_x", "light_y", "light_z"]
VISIBLE = "FaceOcclusionPrevention"
FROM_ALBEDO, FROM_ONE_FRAME = "albedo", "one light"
NO_LIGHT = "light not measured: too little skin is seen"
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
    """Light and occlusion from the subject's own skin where there are frames enough; else each frame by itself."""
    known: NDArray[np.bool_] = np.all(np.isfinite(raw_pose), axis=1)
    upright = pose.matrix(raw_pose[:, 0], raw_pose[:, 1], 0.0)
    own = _own_skin(np.flatnonzero(kept & known), upright, skins)
    lights = _Lights(len(rows))
    for where, colours in skins():
        ours = known[where] & kept[where] & (own is not None)
        if own is not None:
            lights.read_with(own, where[ours], colours[ours], upright)
        alone = known[where] & ~ours
        lights.read_alone(where[alone], colours[alone], upright)
        unread = where[known[where] & pd.isna(lights.method[where])]
        rows.loc[unread[(rows["status"].to_numpy()[unread] == STATUS_OK)], "status"] = NO_LIGHT
    # found in the upright crop's axes, turned by the roll into the frame's
    rolled = pose.matrix(0.0, 0.0, np.nan_to_num(raw_pose[:, 2]))
    rows[LIGHT] = np.einsum("nij,nj->ni", rolled, lights.direction).astype(np.float32)
    lights.vector[:, :3] = np.einsum("nij,nj->ni", rolled, lights.vector[:, :3])
    rows["lighting"] = _objects(lights.vector, np.all(np.isfinite(lights.vector), axis=1))
    rows[VISIBLE], rows["light_from"] = lights.visible, lights.method


Skin = tuple[albedo.Albedo, occlusion.Usual]


def _own_skin(at: NDArray[np.intp], upright: NDArray[np.float64], skins: Skins) -> Skin | None:
    """The subject's skin from ALBEDO_FRAMES of the rows `at`; None from too few."""
    sample = at[np.unique(np.linspace(0, len(at) - 1, min(len(at), ALBEDO_FRAMES)).astype(int))] if len(at) else at
    places, colours = _gather(skins, sample)
    fitted = albedo.fit(colours, upright[places]) if len(places) else None
    if fitted is None:
        log.info("too few faces for the subject's albedo: light is read from single frames")
        return None
    return fitted, occlusion.usual(colours, albedo.read(fitted, colours, upright[places]).shading)


class _Lights:
    """The light on every row, in the upright crop's axes; filled part by part."""

    def __init__(self, count: int) -> None:
        self.direction = np.full((count, 3), np.nan, np.float32)
        self.vector = np.full((count, 6), np.nan, np.float32)
        self.visible = np.full(count, np.nan, np.float32)
        self.method = np.full(count, None, object)

    def read_with(self, skin: Skin, at: NDArray[np.intp], colours: NDArray[np.uint8], upright: Doubles) -> None:
        """Rows `at` of the subject, by its own skin."""
        if not len(at):
            return
        found = albedo.read(skin[0], colours, upright[at])
        self.visible[at] = occlusion.against_usual(colours, found.shading, skin[1])
        self.direction[at], self.vector[at] = found.direction, found.vectors()
        self.method[at[np.isfinite(found.contrast)]] = FROM_ALBEDO

    def read_alone(self, at: NDArray[np.intp], colours: NDArray[np.uint8], upright: Doubles) -> None:
        """Rows `at`, each by itself."""
        for row, one in zip(at, colours, strict=True):
            self.visible[row] = occlusion.visible(one)
            light = lighting.estimate(one, upright[row])
            if light is not None:
                self.direction[row], self.vector[row] = light.direction, light.vector()
                self.method[row] = FROM_ONE_FRAME


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
