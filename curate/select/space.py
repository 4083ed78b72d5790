"""The diversity space: head pose, expression and lighting as one space in which faces are compared.

A face becomes a point of three blocks, x = [sqrt(w_b / W) * x_b / scale_b for each block b], W the sum of the weights:

    pose        the nine entries of R = Rz(roll) Ry(yaw) Rx(pitch) times 180 / (pi sqrt 2), so that the distance of two
                faces is 2 sin(angle / 2) in degrees, angle being that of the one rotation between them (chordal
                distance on the rotation group: Hartley et al., Rotation Averaging, IJCV 2013)
    expression  43 blendshapes (those of gaze and "neutral" left out) and gaze, times .5, as the table has them: above
                the subject's own neutral and without what pose explains (curate.scores.expression)
    lighting    light direction times contrast, log2 exposure, warmth and tint, the last three minus the subject's
                median (skin colour is not light), in steps of .3, 1 stop, .4 and .2

scale_b is the data's own spread: the median distance among faces that are further apart than FLOOR_b. Thinning first
means that neither a pose that is held for an hour nor a looped clip changes the scale. A block whose faces all lie
within FLOOR_b of each other is divided by FLOOR_b, so that noise is not blown up into variety.
Similarity is s = exp(-d^2 / (2 width^2)), 0..1; the width is half the median distance of faces that are further apart
than LEAST_WIDTH (thinned as above), and never less than LEAST_WIDTH: two typical different faces have s = .14.

`Space.absolute` uses fixed scales instead, so that figures of different footage compare and add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.face.mesh import BLENDSHAPES
from curate.face.pose import matrix
from curate.scores.expression import GAZE
from curate.select.options import Weights
from curate.select.similarity import Kernel, net, squared
from curate.types import Floats

Doubles = NDArray[np.float64]

SPACE_COLUMNS = ("yaw", "pitch", "roll", "expression", "gaze", "lighting")
"""The columns of the table that `Space` reads."""
BLOCKS = ("pose", "expression", "lighting")
FLOOR = {"pose": 5.0, "expression": 0.4, "lighting": 1.0}
"""Faces closer than this count as alike in one block: degrees; length of the difference of blendshapes (.06 in each of
the 43); steps of LIGHT_STEPS. Twice or more what two neighbouring frames of a still head differ by."""
LEAST_WIDTH = 0.35
YARDSTICK = {"pose": 15.0, "expression": 1.0, "lighting": 2.0}
"""Scales of the absolute space, in the units of FLOOR: about what lively footage shows."""
ABSOLUTE_WIDTH = 0.5
FACES = tuple(i for i, name in enumerate(BLENDSHAPES) if i not in GAZE and name != "neutral")
GAZE_WEIGHT = 0.5
LIGHT_STEPS = np.array([0.3, 0.3, 0.3, 1.0, 0.4, 0.2])
NEAR_CONSTANT = 0.02
"""A blendshape with a smaller standard deviation over the footage says nothing and is dropped."""
PIECE = 50_000
"""Faces that are turned into arrays at a time."""
SAMPLE, NET = 4000, 600
"""Faces from which scales and width are read; distinct faces among them at most."""


@dataclass(frozen=True, eq=False)
class Neutral:
    """What one subject is like when nothing happens; taken away so that two subjects compare."""

    pose: Doubles
    """(3,) median yaw, pitch, roll in degrees: stands in where pose is null, and is not taken away."""
    lighting: Doubles
    """(6,) median; only exposure, warmth and tint are taken away."""


@dataclass(frozen=True, eq=False)
class Space:
    """A fitted space. Immutable; `embed` brings any table into it."""

    weights: Weights
    neutral: Neutral
    used: NDArray[np.bool_]
    """(45,) which blendshapes and gaze axes vary enough to count."""
    scale: dict[str, float]
    """Block name to its spread: degrees, blendshape length, light steps."""
    width: float
    """Width of the similarity in units of the space."""

    @classmethod
    def fit(cls, table: pd.DataFrame, weights: Weights | None = None) -> Space:
        """The space of the faces in `table` (columns SPACE_COLUMNS; N >= 1). Row order does not matter.

        Nulls stand for the subject's median. Raises ValueError if the table is empty.
        """
        table, neutral, used = _begin(table)
        weights = weights or Weights()
        rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), SAMPLE)).astype(int))
        raw = _blocks(table.iloc[rows], neutral, used)
        scale = {name: spread(raw[name], FLOOR[name]) for name in BLOCKS}
        points = _join(raw, scale, weights)
        return cls(weights, neutral, used, scale, max(LEAST_WIDTH, spread(points, LEAST_WIDTH) / 2))

    @classmethod
    def absolute(cls, table: pd.DataFrame, weights: Weights | None = None) -> Space:
        """The space with the scales YARDSTICK and the width ABSOLUTE_WIDTH; only the neutral comes from `table`.

        A similarity of .95 is a turn of 4 degrees, or .28 of the length of blendshapes, and nothing else.
        """
        _, neutral, used = _begin(table)
        return cls(weights or Weights(), neutral, used, dict(YARDSTICK), ABSOLUTE_WIDTH)

    def embed(self, table: pd.DataFrame, neutral: Neutral | None = None) -> Floats:
        """(N, D) float32 points of the table's faces; for another subject give `neutral_of(their table)`."""
        neutral = neutral or self.neutral
        pieces = [
            _join(_blocks(p, neutral, self.used), self.scale, self.weights).astype(np.float32) for p in _pieces(table)
        ]
        return np.concatenate(pieces)

    def block(self, points: Floats, name: str) -> Floats:
        """(N, d) the columns of one of BLOCKS."""
        start = {"pose": 0, "expression": 9, "lighting": 9 + int(self.used.sum())}[name]
        size = {"pose": 9, "expression": int(self.used.sum()), "lighting": len(LIGHT_STEPS)}[name]
        return np.asarray(points[:, start : start + size])

    def share(self, name: str) -> float:
        """Weight of one of BLOCKS, 0..1; they add up to 1."""
        return float(getattr(self.weights, name) / sum(getattr(self.weights, block) for block in BLOCKS))

    def similarity(self, a: Floats, b: Floats) -> Floats:
        """(A, B) float32 in 0..1 between points (A, D) and (B, D)."""
        return Kernel(b, self.width)(a)


def light_of(table: pd.DataFrame, neutral: Neutral) -> Doubles:
    """(N, 6) lighting; exposure, warmth and tint above the subject's median; the median where null."""
    light = _vectors(table["lighting"], 6)
    light = np.where(np.isfinite(light), light, neutral.lighting)
    light[:, 3:] -= neutral.lighting[3:]
    return light


def _begin(table: pd.DataFrame) -> tuple[pd.DataFrame, Neutral, NDArray[np.bool_]]:
    """The table in order of face_id, its neutral, and which expression axes vary."""
    if not len(table):
        raise ValueError("a diversity space needs at least one face")
    if "face_id" in table:
        table = table.sort_values("face_id")
    neutral = neutral_of(table)
    mean = sum(_expression(p).sum(0) for p in _pieces(table)) / len(table)
    variance = sum(np.square(_expression(p) - mean).sum(0) for p in _pieces(table)) / len(table)
    varies = np.sqrt(variance) >= NEAR_CONSTANT
    return table, neutral, varies if varies.any() else np.ones_like(varies)


def _pieces(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """At most PIECE rows at a time, at least one piece: its columns as arrays take more memory than the table."""
    for start in range(0, max(len(table), 1), PIECE):
        yield table.iloc[start : start + PIECE]


def together(*tables: pd.DataFrame) -> pd.DataFrame:
    """The faces of several subjects in one table, each one's light about its own neutral: what `Space.fit` takes."""
    pieces = []
    for table in tables:
        light = light_of(table, neutral_of(table)).astype(np.float32)
        pieces.append(table[[c for c in SPACE_COLUMNS if c != "lighting"]].assign(lighting=list(light)))
    return pd.concat(pieces, ignore_index=True)


def posed(table: pd.DataFrame) -> pd.DataFrame:
    """The kept faces that have a head pose, in order of face_id. Raises WorkError where there is none."""
    found = table[table["kept"].astype(bool) & table["yaw"].notna()].sort_values("face_id", ignore_index=True)
    if not len(found):
        raise WorkError("the faceset keeps no face with a head pose: nothing can be compared with it")
    return found


def neutral_of(table: pd.DataFrame) -> Neutral:
    """The neutral of the subject in `table`: robust medians over the footage; nulls are passed over."""
    return Neutral(_median(_pose(table)), _median(_vectors(table["lighting"], 6)))


def spread(points: NDArray[np.floating], floor: float) -> float:
    """Median distance among the points (N, D) that are left when of any two closer than `floor` one goes.

    At least `floor`. How often a point is repeated does not matter.
    """
    unlike = np.unique(np.round(points, 6), axis=0)
    unlike = unlike[np.random.default_rng(0).permutation(len(unlike))]
    unlike = unlike[net(unlike, floor, NET)[0][:NET]]
    if len(unlike) < 2:
        return floor
    return max(float(np.sqrt(np.median(squared(unlike, unlike)[np.triu_indices(len(unlike), 1)]))), floor)


def _blocks(table: pd.DataFrame, neutral: Neutral, used: NDArray[np.bool_]) -> dict[str, Doubles]:
    """Each block in its natural unit."""
    pose = _pose(table)
    pose = np.where(np.isfinite(pose), pose, neutral.pose)
    return {
        "pose": matrix(*pose.T).reshape(len(table), 9) * (180 / np.pi / np.sqrt(2)),
        "expression": _expression(table)[:, used],
        "lighting": light_of(table, neutral) / LIGHT_STEPS,
    }


def _join(blocks: dict[str, Doubles], scale: dict[str, float], weights: Weights) -> Doubles:
    share = {name: getattr(weights, name) for name in BLOCKS}
    total = sum(share.values())
    return np.hstack([blocks[name] * (np.sqrt(share[name] / total) / scale[name]) for name in BLOCKS])


def _expression(table: pd.DataFrame) -> Doubles:
    """(N, 45) blendshapes and gaze; 0, the neutral, where null."""
    shapes = _vectors(table["expression"], len(BLENDSHAPES))[:, FACES]
    found = np.hstack([shapes, _vectors(table["gaze"], 2) * GAZE_WEIGHT])
    return np.where(np.isfinite(found), found, 0.0)


def _pose(table: pd.DataFrame) -> Doubles:
    return np.asarray(table[["yaw", "pitch", "roll"]].astype("float64"), dtype=np.float64)


def _vectors(values: Iterable[Any], size: int) -> Doubles:
    """(N, size) float64 out of a column of vectors; NaN where null."""
    rows = list(values)
    try:
        return np.array(rows, np.float64).reshape(len(rows), size)
    except (TypeError, ValueError):  # a null among them
        empty = np.full(size, np.nan)
        rows = [empty if v is None or np.ndim(v) != 1 else v for v in rows]
        return np.array(rows, np.float64).reshape(len(rows), size)


def _median(values: Doubles) -> Doubles:
    """Median of each column's finite values, 0 where there are none."""
    finite = np.isfinite(values)
    some = finite.any(0)
    result = np.zeros(values.shape[1])
    result[some] = np.nanmedian(np.where(finite, values, np.nan)[:, some], axis=0)
    return result
