"""Performance of swaps: whether mouth, eyes, brows, gaze and head follow the target's, read again from held-out swaps.

The landmarker reads each held-out crop of the target twice: as it is, shrunk to the network's size and enlarged again,
and with its swap pasted in. Over those faces the two readings of a score are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.dataset.faceset import Faceset
from curate.errors import MissingError, WorkError
from curate.face import align
from curate.face.backends import Landmarker
from curate.face.pose import head_pose
from curate.face.track import region_of
from curate.scores import expression
from curate.types import Floats, Image, Landmarks
from train.config import TrainConfig
from train.data import Side
from train.drive import COLUMNS, scores_of
from train.identity import in_crop, paste
from train.model import Swap

log = logging.getLogger(__name__)

Doubles = NDArray[np.float64]

AXES = {
    "jaw": "jawOpen", "lips": "pucker", "blink": "blink", "smile": "smile", "brow": "browUp",
    "gaze_side": "gaze_left", "gaze_up": "gaze_up", "yaw": "yaw", "pitch": "pitch",
}  # fmt: skip
"""Figures, and the axes of `curate.axes` that they are read from."""
FLAT = {"yaw": 1.0, "pitch": 1.0}
"""Standard deviation below which the target does not move on an axis, so that nothing can be said; degrees."""
FLAT_ELSE = 0.02
MIN_FACES = 12
"""Faces below which nothing is measured."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Held-out crops of the target, and the performance in them."""

    reader: Landmarker
    crops: tuple[Image, ...]
    regions: tuple[NDArray[np.float64], ...]
    """Where the landmarker looks in each crop, see `curate.face.track.region_of`."""
    inputs: Tensor | None
    """(N, K) scores, or outlines, that drive the swaps; None: the picture does."""
    own: tuple[Landmarks, ...]
    """What the landmarker reads in the crops at the network's size."""
    marks: Floats | None = None
    """(N, P, 3) landmarks in units of the crop's side, from which outlines are drawn."""

    def evaluate(self, model: Swap, size: int, device: torch.device) -> dict[str, float]:
        """Figures of the swaps of all crops.

        follows_*: correlation of a score in the swaps with the same score in the crops, -1..1; slope_*: slope of the
        former over the latter, 1 if the swap moves as far; absent where the target hardly moves. follows: the mean of
        all correlations.
        """
        return figures(self.own, self.drawn(model, size, device, self.inputs))

    def drawn(self, model: Swap, size: int, device: torch.device, inputs: Tensor | None) -> list[Landmarks]:
        """What the landmarker reads in the swaps of all crops, driven by `inputs`."""
        swaps = []
        for place, crop in enumerate(self.crops):
            swaps.append(paste(model, crop, size, device, None if inputs is None else inputs[place : place + 1]))
        return [self.reader.landmark(swap, region) for swap, region in zip(swaps, self.regions, strict=True)]


def figures(own: Sequence[Landmarks], drawn: Sequence[Landmarks]) -> dict[str, float]:
    """Figures of `Stage.evaluate` from the readings of crops and of their swaps."""
    there, here = axes(own, own), axes(own, drawn)
    values: dict[str, float] = {}
    for name in AXES:
        a, b = there[name], here[name]
        known = np.isfinite(a) & np.isfinite(b)
        if known.sum() >= MIN_FACES and a[known].std() >= FLAT.get(name, FLAT_ELSE):
            values |= follow(name, a[known], b[known])
    found = [value for name, value in values.items() if name.startswith("follows_")]
    return values | ({"follows": float(np.mean(found))} if found else {})


def follow(name: str, own: Doubles, drawn: Doubles) -> dict[str, float]:
    """Correlation and slope of one score of N swaps over that of their crops; a constant follows with 0."""
    a, b = own - own.mean(), drawn - drawn.mean()
    slope = float(a @ b / (a @ a))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return {f"follows_{name}": float(a @ b) / spread if spread > 0 else 0.0, f"slope_{name}": slope}


def stage_for(faceset: Faceset, side: Side, config: TrainConfig, reader: Landmarker | None = None) -> Stage | None:
    """Stage of `config.performance` faces of the target within its held-out blocks; None if there is nothing to read.

    A model or data that is missing is named in a warning.
    """
    if not config.performance:
        return None
    try:
        rows = held_out_rows(faceset, side, config.performance)
        if len(rows) < MIN_FACES:
            log.info("performance is not measured: %d faces within the held-out blocks are too few", len(rows))
            return None
        return stage_of(faceset, rows, side, config, reader or _reader())
    except (MissingError, WorkError) as error:
        log.warning("performance is not measured: %s", error)
        return None


def stage_of(faceset: Faceset, rows: pd.DataFrame, side: Side, config: TrainConfig, reader: Landmarker) -> Stage:
    """Stage of these faces of the target. Raises WorkError if their crops or landmarks cannot be read."""
    points = faceset.landmarks(rows["face_id"])
    crops = tuple(faceset.crop(crop) for crop in rows["crop"])
    marks = [in_crop(points[f], m) for f, m in zip(rows["face_id"], rows["matrix"], strict=True)]
    regions = tuple(region_of(Landmarks(m, 1.0, None)) for m in marks)
    inputs, units = None, None
    if side.outlines is not None:
        units = np.stack([align.in_crop(points[f], np.reshape(m, (2, 3)), s) for f, m, s in _places(rows, crops)])
        inputs = side.outlines.carried(units)
    elif side.drive is not None:
        inputs = torch.from_numpy(side.drive.performed(scores_of(rows) - side.rest))
    own = tuple(reader.landmark(_at(c, config.size), r) for c, r in zip(crops, regions, strict=True))
    return Stage(reader, crops, regions, inputs, own, units)


def held_out_rows(faceset: Faceset, side: Side, most: int) -> pd.DataFrame:
    """At most so many of the faceset's faces, selected or not, between the first and last face of a held-out block."""
    names = list(dict.fromkeys(["face_id", "clip", "time", "crop", "matrix", *COLUMNS]))
    table = faceset.table(names, kept=True)
    table = table[table["crop"].notna() & table["matrix"].notna()]
    times, clips = table["time"].to_numpy(float), table["clip"].to_numpy()
    inside = np.zeros(len(table), bool)
    held = side.split.held_out
    for block in np.split(held, np.flatnonzero(np.diff(held) > 1) + 1):
        own = side.rows.iloc[block]
        for clip, some in own.groupby("clip"):
            inside |= (clips == clip) & (times >= some["time"].min()) & (times <= some["time"].max())
    found = table[inside].sort_values(["clip", "time", "face_id"], ignore_index=True)
    if len(found) > most:
        found = found.iloc[np.linspace(0, len(found) - 1, most).round().astype(int)].reset_index(drop=True)
    return found


def _places(rows: pd.DataFrame, crops: Sequence[Image]) -> Iterator[tuple[str, Floats, int]]:
    """Id, matrix and side in pixels of each row's crop."""
    return zip(rows["face_id"], rows["matrix"], (len(crop) for crop in crops), strict=True)


def _raw(found: Sequence[Landmarks]) -> tuple[Floats, Floats, Floats, Doubles]:
    """Blendshapes (N, 52), gaze (N, 2), distances (N, 3), yaw and pitch (N, 2) as read."""
    nothing = np.full(52, np.nan, np.float32)
    shapes = np.stack([nothing if f.blendshapes is None else f.blendshapes for f in found])
    gazes = np.stack([expression.gaze(s) for s in shapes])
    lengths = np.stack([expression.distances(f.points) for f in found])
    pose = head_pose(np.stack([f.points for f in found]))
    return shapes, gazes, lengths, np.column_stack([pose.yaw, pose.pitch])


def axes(own: Sequence[Landmarks], found: Sequence[Landmarks]) -> dict[str, Doubles]:
    """Each of AXES as found (N,), counted from the neutral of `own`."""
    raw = _raw(found)
    read = expression.apply(expression.neutral_of(*_raw(own)), *raw)
    known = {**read.axes, "gaze_left": read.gaze[:, 0], "gaze_up": read.gaze[:, 1]}
    known |= {"yaw": raw[3][:, 0], "pitch": raw[3][:, 1]}
    return {name: np.asarray(known[axis], np.float64) for name, axis in AXES.items()}


def _at(crop: Image, size: int) -> Image:
    """The crop shrunk to the network's size and enlarged again."""
    if crop.shape[0] <= size:
        return crop
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _reader() -> Landmarker:
    from curate.face.backends.litert import LiteRTLandmarker

    return LiteRTLandmarker()
