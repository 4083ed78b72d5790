"""What a target does throughout and the source never does: it smiles, it looks down.

The table has expression and pitch from each subject's own neutral, in which a constant smile is the neutral. The parts
have them as measured. These depend on the person and the camera as well, so only large differences count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.axes import EXPRESSION, READABLE
from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.face.mesh import BLENDSHAPES
from curate.safe_io import read_parquet
from curate.schema import part_schema
from curate.select.content import seconds

Doubles = NDArray[np.float64]

THROUGHOUT = 0.8
"""Share of the target's footage that does it."""
EDGE = 0.005
"""A source reaches from this quantile on an axis to the opposite one."""
MARGIN = {"pitch": 10.0, "expression": 0.25}
"""Degrees, and blendshape, by which the target exceeds what the source reaches."""


@dataclass(frozen=True, eq=False)
class Habit:
    """Something that the target does throughout."""

    axis: str
    side: int
    share: float
    """Of the target's footage, 0..1."""
    beyond: NDArray[np.bool_]
    """(M,) the target's faces that do it."""
    low: float
    high: float
    nearest: int
    """Row of the source's face that comes nearest."""


def habits(source: Faceset, have: pd.DataFrame, target: Faceset, want: pd.DataFrame) -> tuple[Habit, ...]:
    """The habits of the target's faces `want` that none of the source's faces `have` shares; none without parts."""
    try:
        supply, asked = measured(source, have["face_id"]), measured(target, want["face_id"])
    except WorkError:
        return ()
    return found_in(supply, asked, seconds(want))


def found_in(supply: dict[str, Doubles], asked: dict[str, Doubles], lasts: Doubles) -> tuple[Habit, ...]:
    """The habits out of values as measured of every axis: (N,) of the source, (M,) of the target, shown for `lasts`."""
    found = []
    for name, have in supply.items():
        want, known = asked[name], np.isfinite(asked[name])
        if not np.isfinite(have).any() or not known.any():
            continue
        for side, words in ((1, READABLE[name].high), (-1, READABLE[name].low)):
            bound = float(np.nanquantile(side * have, 1 - EDGE)) + MARGIN.get(name, MARGIN["expression"])
            beyond = known & (side * np.nan_to_num(want) > bound)
            share = float(lasts[beyond].sum() / lasts.sum())
            if words and share >= THROUGHOUT:
                low, high = np.quantile(want[beyond], (0, 1))
                found.append(Habit(name, side, share, beyond, float(low), float(high), int(np.nanargmax(side * have))))
    return tuple(found)


def measured(faceset: Faceset, face_ids: Iterable[str]) -> dict[str, Doubles]:
    """(N,) pitch and the axes of expression of the faces as measured, out of the parts; NaN where not known."""
    paths = [path for some in faceset.parts().values() for path in some]
    columns = ("face_id", "pitch", "expression")
    if not paths:
        raise WorkError(f"{faceset.folder} has no parts")
    rows = pd.concat([read_parquet(path, columns, part_schema(), ("face_id",)) for path in paths], ignore_index=True)
    rows = rows.drop_duplicates("face_id").set_index("face_id").reindex(list(face_ids))
    shapes = np.full((len(rows), len(BLENDSHAPES)), np.nan)
    for i, vector in enumerate(rows["expression"]):
        if vector is not None and np.ndim(vector) == 1:
            shapes[i] = vector
    index = {name: i for i, name in enumerate(BLENDSHAPES)}
    values = {axis.name: shapes[:, [index[s] for s in axis.blendshapes]].mean(1) for axis in EXPRESSION}
    return {"pitch": rows["pitch"].to_numpy(np.float64, na_value=np.nan)} | values
