"""What a selection is made from: the eligible faces, the space in which they are compared, and their kinds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.pins import Pins
from curate.errors import WorkError
from curate.scores.expression import AXES
from curate.select import like
from curate.select.content import in_content_order, rows_of, seconds
from curate.select.eligible import eligible_rows
from curate.select.kinds import Kinds, kinds_of, without
from curate.select.misread import misread
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.space import SPACE_COLUMNS, Space, neutral_of, posed, together
from curate.types import Floats

_PIECE = 100_000
"""Points that are moved at a time."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Eligible faces in order of content, which depends neither on names nor on the order of rows."""

    kept: pd.DataFrame
    """All of the subject's faces."""
    rows: NDArray[np.int64]
    """(N,) the eligible ones among them."""
    space: Space
    points: Floats
    """(N, D)."""
    kinds: Kinds
    seconds: NDArray[np.float64]
    """(N,) of the footage for which each face stands."""
    notes: tuple[str, ...]
    """What the user should know, a sentence each."""
    wanted: pd.DataFrame | None
    """The target's faces."""

    @property
    def faces(self) -> pd.DataFrame:
        """The eligible faces (N rows)."""
        return rows_of(self.kept, self.rows)

    @cached_property
    def measures(self) -> pd.DataFrame:
        """The eligible faces (N rows); a copy has no columns of the space, which take most of the memory."""
        if len(self.rows) == len(self.kept):
            return self.kept
        return rows_of(self.kept.drop(columns=[*SPACE_COLUMNS, *AXES], errors="ignore"), self.rows)

    @property
    def ids(self) -> pd.Index[Any]:
        """(N,) face ids."""
        found: pd.Index[Any] = pd.Index(self.measures["face_id"])
        return found


def pool_of(
    table: pd.DataFrame,
    options: SelectionOptions,
    pins: Pins | None = None,
    target: pd.DataFrame | None = None,
    among: Collection[str] | None = None,
) -> Pool:
    """The pool of the table's kept faces; `target` and `among` as in `curate.select.selection.choose`.

    Raises WorkError if no face is eligible.
    """
    kept = in_content_order(table, table["kept"].to_numpy(bool))
    pins = pins or Pins()
    passed, notes = eligible_rows(kept, options.floors, pins, among)
    pinned = kept["face_id"].isin(pins.pinned).to_numpy()
    if not options.keep_misread:
        passed &= _without_misread(kept, passed, pinned, notes)
    rows = np.flatnonzero(passed)
    wanted = None if target is None else posed(target)
    space = fitted(kept, rows, wanted, options.weights)
    points, lasts = space.embed(kept, rows=rows), seconds(kept)[rows]
    kinds = kinds_of(points, space.width, lasts)
    sharp = _sharp(options.floors, kinds, points, space, _sizes(kept).iloc[rows], pinned[rows], notes)
    if not sharp.all():
        rows, points, lasts = rows[sharp], _packed(points, sharp), lasts[sharp]
        kinds = without(kinds, sharp, points, space.width, lasts)
    return Pool(kept, rows, space, points, kinds, lasts, tuple(notes), wanted)


def _packed(points: Floats, left: NDArray[np.bool_]) -> Floats:
    """The points `left` (N,) of the points (N, D), moved to the front of the same memory."""
    stop = 0
    for start in range(0, len(points), _PIECE):
        some = points[start : start + _PIECE][left[start : start + _PIECE]]
        points[stop : stop + len(some)] = some
        stop += len(some)
    return points[:stop]


def fitted(kept: pd.DataFrame, rows: NDArray[np.int64], wanted: pd.DataFrame | None, weights: Weights | None) -> Space:
    """The space of the eligible `rows` of the kept faces, with those of a target in `wanted` where there is one.

    Its neutral is the subject's own in either case.
    """
    if wanted is None:
        return Space.fit(kept, weights, rows)
    faces = kept[list(SPACE_COLUMNS)].iloc[rows]
    return replace(Space.fit(together(faces, wanted), weights), neutral=neutral_of(faces))


def _without_misread(
    kept: pd.DataFrame, passed: NDArray[np.bool_], pinned: NDArray[np.bool_], notes: list[str]
) -> NDArray[np.bool_]:
    """(N,) which faces are not misread, or pinned; all where no eligible face would be left."""
    bad = misread(kept) & ~pinned
    count = int((bad & passed).sum())
    if not count or count == passed.sum():
        return np.ones(len(kept), bool)
    faces = "1 face looks" if count == 1 else f"{count} faces look"
    notes.append(
        f"{faces} misread (a jump, or landmarks that cannot be trusted) and left out; --keep-misread keeps them"
    )
    return ~bad


def _sizes(kept: pd.DataFrame) -> pd.DataFrame:
    return kept[[name for name in ("Sharpness", "InterEyeDistance") if name in kept]]


def _sharp(
    floors: Floors,
    kinds: Kinds,
    points: Floats,
    space: Space,
    faces: pd.DataFrame,
    pinned: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[np.bool_]:
    """(N,) which faces are about as large and as sharp as like faces, or pinned."""
    small = like.small(kinds, points, space.width, faces) & ~pinned
    if count := int(small.sum()):
        each = "1 face is" if count == 1 else f"{count} faces are"
        notes.append(f"{each} less than half as large as others of the same kind and left out; --pin keeps single ones")
    if floors.max_softness is None or floors.min_sharpness is not None:
        return ~small
    bad = like.soft(kinds, points, space.width, faces, floors.max_softness) & ~pinned
    if count := int((bad & ~small).sum()):
        each = "1 face is" if count == 1 else f"{count} faces are"
        notes.append(
            f"{each} much softer than others of the same kind and left out; --max-softness {floors.max_softness:g} "
            "or --min-sharpness changes that"
        )
    bad |= small
    if bad.all():
        raise WorkError("no face is as sharp as others of its kind: raise --max-softness")
    return ~bad
