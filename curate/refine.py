"""What only the whole footage can say about the subject: pose zero, neutral expression, light from the albedo.

Works on the rows of the table and the skin colours of the parts; needs neither footage nor crops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import albedo, expression, lighting, occlusion, pose, quality
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
NEUTRAL_FACES = 200_000
"""Faces, spread evenly over the footage, from which the neutral is read."""
BLOCK = 50_000
"""Faces whose expression is read at a time."""
Vectors = dict[str, Floats]
"""Columns of vectors: name to (N, K) float32, a row of NaN for null."""
Skins = Callable[[], Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]]
"""Streams the skin colours part by part: positions of rows in the table (n,), colours (n, T, 3)."""


def refine(rows: pd.DataFrame, vectors: Vectors, skins: Skins) -> None:
    """Make the table's raw scores the subject's own, in place; `rows` in their final order, with `kept`.

    `vectors` holds `expression` (N, 52), `gaze` (N, 2) and `distances` (N, 3) as in the parts, NaN where there are
    none; the first two are overwritten, `lighting` (N, 6) is added. Faces that are not the subject's keep their raw
    pose and light and lose their expression: it has no meaning without a neutral of their own.
    """
    kept = rows["kept"].to_numpy(bool)
    raw_pose = rows[["yaw", "pitch", "roll"]].to_numpy(np.float64)
    _expression(rows, kept, raw_pose, vectors)
    _light(rows, kept, raw_pose, vectors, skins)
    _pose(rows, kept)
    for column in QUALITY:
        rows[scalar_name(column.name)] = quality.scalar(column.name, rows[column.name].to_numpy(np.float64))


def _pose(rows: pd.DataFrame, kept: NDArray[np.bool_]) -> None:
    seen = kept & rows["pitch"].notna().to_numpy()
    if not seen.any():
        return
    ours = rows.loc[seen, ["pitch", "yaw", "pose_confidence"]].to_numpy(np.float64)
    pitch = rows["pitch"].to_numpy(np.float32).copy()
    pitch[kept] -= np.float32(pose.zero(*ours.T))
    rows["pitch"] = pitch


def _expression(rows: pd.DataFrame, kept: NDArray[np.bool_], raw_pose: Doubles, vectors: Vectors) -> None:
    shapes, gaze, lengths = (vectors[name] for name in ("expression", "gaze", "distances"))
    axes = {name: np.full(len(rows), np.nan, np.float32) for name in expression.AXES}
    known = kept & np.isfinite(shapes).all(1) & np.isfinite(raw_pose).all(1)
    shapes[~known], gaze[~known] = np.nan, np.nan
    ours = np.flatnonzero(known)
    if len(ours):
        some = ours[np.unique(np.linspace(0, len(ours) - 1, min(len(ours), NEUTRAL_FACES)).astype(int))]
        neutral = expression.neutral_of(shapes[some], gaze[some], lengths[some], raw_pose[some])
        for start in range(0, len(ours), BLOCK):
            at = ours[start : start + BLOCK]
            found = expression.apply(neutral, shapes[at], gaze[at], lengths[at], raw_pose[at])
            shapes[at], gaze[at] = found.shapes, found.gaze
            for name, values in found.axes.items():
                axes[name][at] = values
    for name, values32 in axes.items():
        rows[name] = values32


def _light(rows: pd.DataFrame, kept: NDArray[np.bool_], raw_pose: Doubles, vectors: Vectors, skins: Skins) -> None:
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
    lights.vector[~np.all(np.isfinite(lights.vector), axis=1)] = np.nan
    vectors["lighting"] = lights.vector
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
