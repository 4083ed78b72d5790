"""What a selection is made from: the eligible faces, the space in which they are compared, and their kinds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.pins import Pins
from curate.errors import WorkError
from curate.select import like
from curate.select.content import content_order, seconds
from curate.select.eligible import eligible_rows
from curate.select.kinds import Kinds, kinds_of, without
from curate.select.misread import misread
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.space import Space, neutral_of, posed, together
from curate.types import Floats


@dataclass(frozen=True, eq=False)
class Pool:
    """Eligible faces in order of content, which depends neither on names nor on the order of rows."""

    kept: pd.DataFrame
    """All of the subject's faces."""
    faces: pd.DataFrame
    """The eligible ones (N rows)."""
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
    def ids(self) -> NDArray[np.str_]:
        """(N,) face ids."""
        return self.faces["face_id"].to_numpy(dtype=str)


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
    kept = table[table["kept"].astype(bool)].reset_index(drop=True)
    kept = kept.iloc[content_order(kept)].reset_index(drop=True)
    pins = pins or Pins()
    passed, notes = eligible_rows(kept, options.floors, pins, among)
    pinned = kept["face_id"].isin(pins.pinned).to_numpy()
    if not options.keep_misread:
        passed &= _without_misread(kept, passed, pinned, notes)
    faces = kept[passed].reset_index(drop=True)
    wanted = None if target is None else posed(target)
    space = fitted(faces, wanted, options.weights)
    points, lasts = space.embed(faces), seconds(faces)
    kinds = kinds_of(points, space.width, lasts)
    sharp = _sharp(options.floors, kinds, points, space, faces, pinned[passed], notes)
    if not sharp.all():
        faces, points, lasts = faces[sharp].reset_index(drop=True), points[sharp], lasts[sharp]
        kinds = without(kinds, sharp, points, space.width, lasts)
    return Pool(kept, faces, space, points, kinds, lasts, tuple(notes), wanted)


def fitted(faces: pd.DataFrame, wanted: pd.DataFrame | None, weights: Weights | None) -> Space:
    """The space of the eligible `faces`, with those of a target in `wanted` where there is one.

    Its neutral is the subject's own in either case.
    """
    space = Space.fit(faces if wanted is None else together(faces, wanted), weights)
    return replace(space, neutral=neutral_of(faces))


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


def _sharp(
    floors: Floors,
    kinds: Kinds,
    points: Floats,
    space: Space,
    faces: pd.DataFrame,
    pinned: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[np.bool_]:
    """(N,) which faces are about as sharp as like faces, or pinned."""
    if floors.max_softness is None or floors.min_sharpness is not None:
        return np.ones(len(faces), bool)
    bad = like.soft(kinds, points, space.width, faces, floors.max_softness) & ~pinned
    if count := int(bad.sum()):
        each = "1 face is" if count == 1 else f"{count} faces are"
        notes.append(
            f"{each} much softer than others of the same kind and left out; --max-softness {floors.max_softness:g} "
            "or --min-sharpness changes that"
        )
    if bad.all():
        raise WorkError("no face is as sharp as others of its kind: raise --max-softness")
    return ~bad
