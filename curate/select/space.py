"""The diversity space: head pose, expression and lighting as one space in which faces are compared.

A face becomes a point of three blocks, x = [sqrt(w_b / W) * x_b / scale_b for each block b], W the sum of the weights:

    pose        the direction that the head looks in, Ry(yaw) Rx(pitch) (0, 0, 1), times 180 / pi, so that the distance
                of two faces is 2 sin(angle / 2) in degrees. Roll is left out: crops are upright
    expression  43 blendshapes (those of gaze and "neutral" left out) and gaze, times .5, as the table has them: above
                the subject's own neutral and without what pose explains (curate.scores.expression)
    lighting    light direction in the crop's axes (turned back by roll) times contrast, log2 exposure, warmth and tint,
                the last three minus the subject's median (skin colour is not light), in steps of .3, 1 stop, .4 and .2

scale_b is the data's own spread: the median distance among faces that are further apart than FLOOR_b, where all faces
within FLOOR_b of each other count as one. So neither a pose that is held for an hour nor a looped clip changes the
scale; a face that stands alone counts 1/256 of one that has company, so that misread faces hardly change it. A block
whose faces all lie within FLOOR_b of each other is divided by FLOOR_b, so that noise is not blown up into variety.
Similarity is s = exp(-d^2 / (2 width^2)), 0..1; the width is half the median distance of faces that are further apart
than LEAST_WIDTH (counted as above), and never less than LEAST_WIDTH: two typical different faces have s = 0.14.

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
from curate.scores.expression import GAZE
from curate.select.content import NUMBERS, content_hash, order_of
from curate.select.options import Weights
from curate.select.similarity import Kernel, leaders, squared
from curate.types import Floats
from curate.vectors import rows_of

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
SIZES = {"pose": 3, "expression": len(FACES) + 2, "lighting": len(LIGHT_STEPS)}
DIMENSIONS = sum(SIZES.values())
PIECE = 10_000
"""Faces that are turned into arrays at a time."""
SAMPLE = 2000
"""Unlike faces from which scales and width are read, at most."""
UNLIKE = 0.16
"""Distance of unlike faces in the absolute space: a similarity of .95."""
COMPANY = 16
"""A face counts as the square of the faces that are near to it, up to so many."""
BINS = 4096
"""Of the histogram of distances from which their median is read."""


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
    scale: dict[str, float]
    """Block name to its spread: degrees, blendshape length, light steps."""
    width: float
    """Width of the similarity in units of the space."""

    @classmethod
    def fit(cls, table: pd.DataFrame, weights: Weights | None = None, rows: NDArray[np.int64] | None = None) -> Space:
        """The space of the faces in `table` (columns SPACE_COLUMNS; N >= 1), or of some of its `rows`.

        Row order does not matter. Nulls stand for the subject's median. Raises ValueError if there is no face.
        """
        neutral = _begin(table, rows)
        weights = weights or Weights()
        rows, faces = _unlike(table, neutral, rows)
        raw = _blocks(table.iloc[rows], neutral)
        scale = {name: spread(raw[name], FLOOR[name], faces) for name in BLOCKS}
        points = _join(raw, scale, weights)
        return cls(weights, neutral, scale, max(LEAST_WIDTH, spread(points, LEAST_WIDTH, faces) / 2))

    @classmethod
    def absolute(cls, table: pd.DataFrame, weights: Weights | None = None) -> Space:
        """The space with the scales YARDSTICK and the width ABSOLUTE_WIDTH; only the neutral comes from `table`.

        A similarity of .95 is a turn of 4 degrees, or .28 of the length of blendshapes, and nothing else.
        """
        return cls(weights or Weights(), _begin(table), dict(YARDSTICK), ABSOLUTE_WIDTH)

    def embed(
        self, table: pd.DataFrame, neutral: Neutral | None = None, rows: NDArray[np.int64] | None = None
    ) -> Floats:
        """(N, D) float32 points of the table's faces, or of some of its `rows` (N,).

        For another subject give `neutral_of(their table)`.
        """
        neutral, columns = neutral or self.neutral, table[list(SPACE_COLUMNS)]
        count = len(table) if rows is None else len(rows)
        found = np.empty((count, DIMENSIONS), np.float32)
        for at in _slices(count):
            piece = columns.iloc[at if rows is None else rows[at]]
            found[at] = _join(_blocks(piece, neutral), self.scale, self.weights)
        return found

    def block(self, points: Floats, name: str) -> Floats:
        """(N, d) the columns of one of BLOCKS."""
        start = sum(SIZES[block] for block in BLOCKS[: BLOCKS.index(name)])
        return np.asarray(points[:, start : start + SIZES[name]])

    def share(self, name: str) -> float:
        """Weight of one of BLOCKS, 0..1; they add up to 1."""
        return float(getattr(self.weights, name) / sum(getattr(self.weights, block) for block in BLOCKS))

    def similarity(self, a: Floats, b: Floats) -> Floats:
        """(A, B) float32 in 0..1 between points (A, D) and (B, D)."""
        return Kernel(b, self.width)(a)


def light_of(table: pd.DataFrame, neutral: Neutral) -> Doubles:
    """(N, 6) lighting in the crop's axes, the median where null; exposure, warmth, tint above the subject's median."""
    light = _light(table)
    light = np.where(np.isfinite(light), light, neutral.lighting)
    light[:, 3:] -= neutral.lighting[3:]
    return light


def _light(table: pd.DataFrame) -> Doubles:
    """(N, 6) lighting with its direction turned back by the head's roll, as the crop is; NaN where null."""
    light = vectors(table["lighting"], 6)
    if "roll" in table:
        roll = np.radians(np.nan_to_num(np.asarray(table["roll"].astype("float64"), np.float64)))
        x, y = light[:, 0].copy(), light[:, 1].copy()
        light[:, 0], light[:, 1] = x * np.cos(roll) + y * np.sin(roll), y * np.cos(roll) - x * np.sin(roll)
    return light


def _begin(table: pd.DataFrame, rows: NDArray[np.int64] | None = None) -> Neutral:
    """The neutral of faces that a space is fitted to."""
    if not len(table if rows is None else rows):
        raise ValueError("a diversity space needs at least one face")
    return neutral_of(table, rows)


def together(*tables: pd.DataFrame) -> pd.DataFrame:
    """The faces of several subjects in one table, each one's light about its own neutral: what `Space.fit` takes."""
    pieces = []
    for table in tables:
        light = light_of(table, neutral_of(table)).astype(np.float32)  # in the crop's axes: no roll is left
        pieces.append(table[[c for c in SPACE_COLUMNS if c != "lighting"]].assign(lighting=list(light), roll=0.0))
    return pd.concat(pieces, ignore_index=True)


def posed(table: pd.DataFrame) -> pd.DataFrame:
    """The kept faces that have a head pose, in order of face_id. Raises WorkError where there is none."""
    found = table[table["kept"].astype(bool) & table["yaw"].notna()].sort_values("face_id", ignore_index=True)
    if not len(found):
        raise WorkError("the faceset keeps no face with a head pose: nothing can be compared with it")
    return found


def neutral_of(table: pd.DataFrame, rows: NDArray[np.int64] | None = None) -> Neutral:
    """The neutral of the subject in `table`, or in some of its `rows`: robust medians over the footage.

    Nulls are passed over.
    """
    count = len(table) if rows is None else len(rows)
    pose, light, columns = np.empty((count, 3)), np.empty((count, 6)), table[[*NUMBERS, "lighting"]]
    for at in _slices(count):
        piece = columns.iloc[at if rows is None else rows[at]]
        pose[at], light[at] = _pose(piece), _light(piece)
    return Neutral(_median(pose), _median(light))


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE))


def _unlike(
    table: pd.DataFrame, neutral: Neutral, rows: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unlike faces among the `rows` of the table (None: all) in order of content, about SAMPLE at most, and how many
    faces each stands for.

    Found among all faces in the absolute space, so that a held pose takes no more room than any other. Faces that are
    exactly equal count as one.
    """
    rows = np.arange(len(table)) if rows is None else rows
    codes = content_hash(table)[rows]
    order = order_of(codes, table[[c for c in ("face_id", "time") if c in table]].iloc[rows])
    codes = codes[order]
    order = rows[order[np.append(True, codes[1:] != codes[:-1])]]
    del codes
    space = Space(Weights(), neutral, dict(YARDSTICK), ABSOLUTE_WIDTH)
    first, cell, _ = leaders(space.embed(table, rows=order), UNLIKE, SAMPLE)
    return order[first], np.bincount(cell, minlength=len(first))


def spread(points: NDArray[np.floating], floor: float, faces: NDArray[np.int64] | None = None) -> float:
    """Median distance among the points (N, D) that are `floor` or more apart, at least `floor`.

    `faces` (N,): how many faces each point stands for; None: one, repeated or not. The points near to each other share
    the weight of one, which is the square of their faces up to COMPANY: real faces last, misread ones stand alone.
    """
    if faces is None:
        points = np.unique(np.round(points, 6), axis=0)
        faces = np.ones(len(points), np.int64)
    apart = np.sqrt(squared(points - points.mean(0), points - points.mean(0)))
    near = apart < floor
    np.fill_diagonal(near, True)
    weight = np.square(np.minimum(near @ faces.astype(np.float32), COMPANY)) / near.sum(1)
    far = ~near & np.tri(len(points), k=-1, dtype=bool)
    if not far.any():
        return floor
    least, most = float(apart[far].min()), float(apart[far].max())
    if most - least <= 1e-3 * most:  # equal, or so large that bins between them cannot be told apart
        return max(most, floor)
    count, edges = np.histogram(apart[far], BINS, weights=(weight[:, None] * weight)[far])
    total = np.cumsum(count)
    return max(float(np.interp(total[-1] / 2, total, edges[1:])), floor)


def _blocks(table: pd.DataFrame, neutral: Neutral) -> dict[str, Doubles]:
    """Each block in its natural unit."""
    pose = _pose(table)
    yaw, pitch, _ = np.radians(np.where(np.isfinite(pose), pose, neutral.pose)).T
    looks = np.column_stack([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return {
        "pose": looks * (180 / np.pi),
        "expression": _expression(table),
        "lighting": light_of(table, neutral) / LIGHT_STEPS,
    }


def _join(blocks: dict[str, Doubles], scale: dict[str, float], weights: Weights) -> Doubles:
    share = {name: getattr(weights, name) for name in BLOCKS}
    total = sum(share.values())
    return np.hstack([blocks[name] * (np.sqrt(share[name] / total) / scale[name]) for name in BLOCKS])


def _expression(table: pd.DataFrame) -> Doubles:
    """(N, 45) blendshapes and gaze; 0, the neutral, where null."""
    shapes = vectors(table["expression"], len(BLENDSHAPES))[:, FACES]
    found = np.hstack([shapes, vectors(table["gaze"], 2) * GAZE_WEIGHT])
    return np.where(np.isfinite(found), found, 0.0)


def _pose(table: pd.DataFrame) -> Doubles:
    return np.asarray(table[["yaw", "pitch", "roll"]].astype("float64"), dtype=np.float64)


def vectors(values: Iterable[Any], size: int) -> Doubles:
    """(N, size) float64 out of a column of vectors; NaN where null."""
    packed = rows_of(values, size)
    if packed is not None:
        return packed.astype(np.float64)
    rows = list(values)
    try:
        return np.array(rows, np.float64).reshape(len(rows), size)
    except (TypeError, ValueError):  # a null among them
        empty = np.full(size, np.nan)
        rows = [empty if v is None or np.ndim(v) != 1 else v for v in rows]
        return np.array(rows, np.float64).reshape(len(rows), size)


def _median(values: Doubles) -> Doubles:
    """Median of each column's finite values, 0 where there are none."""
    known = (column[np.isfinite(column)] for column in values.T)
    return np.array([np.median(column) if len(column) else 0.0 for column in known], np.float64)
