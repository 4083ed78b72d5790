"""Calibration to one subject, from all of its footage: pose zero, neutral expression, light from the albedo.

`learn` reads it from a sample of the faces, `refine` applies it to any of them; neither needs footage or crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.extract.parts import Vectors
from curate.face import pose
from curate.schema import QUALITY, STATUS_OK, scalar_name
from curate.scores import albedo, expression, lighting, occlusion, quality

Doubles = NDArray[np.float64]


HARD_FACES = 0.1
"""Share of the faces in hard light (`curate.scores.lighting.black`) from which on no light is read from the albedo."""
ALBEDO_FACES = 240
"""Faces, spread evenly over the footage, from which the albedo is read."""
NEUTRAL_FACES = 50_000
"""Faces, spread evenly over the footage, from which the neutral and the zero of pitch are read."""
POSE = ["yaw", "pitch", "roll", "pose_confidence"]
LIGHT = ["light_x", "light_y", "light_z"]
VISIBLE = "FaceOcclusionPrevention"
FROM_ALBEDO, FROM_ONE_FRAME = "albedo", "one light"
NO_LIGHT = "light not measured: too little skin is seen"
Skin = tuple[albedo.Albedo, occlusion.Usual]


@dataclass(frozen=True, eq=False)
class Sample:
    """Faces of the subject, spread evenly over the footage, in order of the table."""

    pose: Doubles
    """(N, 4) POSE as in the parts."""
    vectors: Vectors
    """`expression` (N, 52), `gaze` (N, 2) and `distances` (N, 3) as in the parts, NaN where there are none."""
    turned: Doubles
    """(M, 2) yaw and pitch of the faces whose skin is read."""
    colours: NDArray[np.uint8]
    """(M, T, 3) colours of their skin."""


@dataclass(frozen=True, eq=False)
class Own:
    """The subject's own neutral, zero and skin."""

    neutral: expression.Neutral
    zero: float
    """Degrees of pitch that count as 0."""
    skin: Skin | None
    """None: too few faces show it, so light is read from single frames."""
    soft: bool = True
    """Whether the light is soft enough for the albedo to be trusted: under hard light half of the skin is black."""


def learn(sample: Sample) -> Own:
    """The subject's own neutral, zero and skin, from a sample of its faces."""
    yaw, pitch, _, confidence = sample.pose.T
    upright = pose.matrix(sample.turned[:, 0], sample.turned[:, 1], 0.0)
    own = albedo.fit(sample.colours, upright) if len(upright) else None
    usual: Skin | None = None
    if own is not None:
        usual = own, occlusion.usual(sample.colours, albedo.read(own, sample.colours, upright).shading)
    shapes, gaze, lengths = (sample.vectors[name] for name in ("expression", "gaze", "distances"))
    neutral = expression.neutral_of(shapes, gaze, lengths, sample.pose)
    return Own(neutral, pose.zero(pitch, yaw, confidence), usual, soft_light(sample.colours))


def soft_light(colours: NDArray[np.uint8]) -> bool:
    """Whether few enough of the faces are in hard light; `colours` (N, T, 3) of their skin."""
    return not len(colours) or float((lighting.black(colours) > lighting.BLACK_SHARE).mean()) < HARD_FACES


def refine(
    rows: pd.DataFrame, vectors: Vectors, skinned: NDArray[np.bool_], colours: NDArray[np.uint8], own: Own
) -> None:
    """Make raw scores the subject's own, in place; `rows` with `kept`.

    `vectors` as in `Sample`; the first two are overwritten, `lighting` (N, 6) is added. `colours` (N, T, 3) of the skin
    count where `skinned` (N,). Faces that are not the subject's keep their raw pose and light and lose their
    expression: it has no meaning without a neutral of their own.
    """
    kept = rows["kept"].to_numpy(bool)
    raw_pose = rows[POSE[:3]].to_numpy(np.float64)
    _expression(rows, kept, raw_pose, vectors, own.neutral)
    known = np.isfinite(raw_pose).all(1) & skinned
    _light(rows, np.flatnonzero(known & kept), np.flatnonzero(known & ~kept), raw_pose, vectors, colours, own)
    pitch = rows["pitch"].to_numpy(np.float32).copy()
    pitch[kept] -= np.float32(own.zero)
    rows["pitch"] = pitch
    for column in QUALITY:
        rows[scalar_name(column.name)] = quality.scalar(column.name, rows[column.name].to_numpy(np.float64))


def _expression(
    rows: pd.DataFrame,
    kept: NDArray[np.bool_],
    raw_pose: Doubles,
    vectors: Vectors,
    neutral: expression.Neutral,
) -> None:
    shapes, gaze, lengths = (vectors[name] for name in ("expression", "gaze", "distances"))
    known = kept & np.isfinite(shapes).all(1) & np.isfinite(raw_pose).all(1)
    shapes[~known], gaze[~known] = np.nan, np.nan
    found = expression.apply(neutral, shapes[known], gaze[known], lengths[known], raw_pose[known])
    shapes[known], gaze[known] = found.shapes, found.gaze
    for name in expression.AXES:
        axis = np.full(len(rows), np.nan, np.float32)
        axis[known] = found.axes[name]
        rows[name] = axis


def _light(
    rows: pd.DataFrame,
    ours: NDArray[np.intp],
    others: NDArray[np.intp],
    raw_pose: Doubles,
    vectors: Vectors,
    colours: NDArray[np.uint8],
    own: Own,
) -> None:
    """Light and occlusion: of the subject by its own skin, if that is known and the light is soft; of others, and in
    hard light, each frame by itself."""
    upright = pose.matrix(raw_pose[:, 0], raw_pose[:, 1], 0.0)
    lights, read = LightReader(len(rows)), np.union1d(ours, others)
    if own.skin is not None:
        lights.read_with(own.skin, ours, colours[ours], upright)
        if own.soft:
            ours = ours[lighting.black(colours[ours]) > lighting.BLACK_SHARE]
    for row in np.union1d(ours, others):
        lights.read_alone(row, colours[row], upright[row])
    unread = read[pd.isna(lights.method[read])]
    rows.loc[rows.index[unread][rows["status"].to_numpy()[unread] == STATUS_OK], "status"] = NO_LIGHT
    # found in the upright crop's axes, turned by the roll into the frame's
    rolled = pose.matrix(0.0, 0.0, np.nan_to_num(raw_pose[:, 2]))
    rows[LIGHT] = np.einsum("nij,nj->ni", rolled, lights.direction).astype(np.float32)
    lights.vector[:, :3] = np.einsum("nij,nj->ni", rolled, lights.vector[:, :3])
    lights.vector[~np.all(np.isfinite(lights.vector), axis=1)] = np.nan
    vectors["lighting"] = lights.vector
    rows[VISIBLE], rows["light_from"] = lights.visible, lights.method


class LightReader:
    """The light on every row, in the upright crop's axes."""

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

    def read_alone(self, row: int, colours: NDArray[np.uint8], upright: Doubles) -> None:
        """One row by itself."""
        if np.isnan(self.visible[row]):
            self.visible[row] = occlusion.visible(colours)
        light = lighting.estimate(colours, upright)
        if light is not None:
            self.direction[row], self.vector[row] = light.direction, light.vector()
            self.method[row] = FROM_ONE_FRAME
